import type { Finding } from './finding.ts';

/** Tries out what stealth needs, on sockets that never send a packet. `engine` comes first. */
export interface Trial {
  engine(): Finding | Promise<Finding>;
  client(): Finding | Promise<Finding>;
  server(): Finding | Promise<Finding>;
  /** Takes everything back. */
  close(): void;
}
