import { closeSync, openSync, readSync } from 'node:fs';

const FILES = {
  timestamps: '/proc/sys/net/ipv4/tcp_timestamps',
  blackholeTimeout: '/proc/sys/net/ipv4/tcp_fastopen_blackhole_timeout_sec',
} as const;
export type SysctlName = keyof typeof FILES;

/** Settings of this network namespace, read anew each time from files that stay open. */
export class Sysctls {
  readonly #files: Readonly<Record<SysctlName, number>>;

  constructor() {
    this.#files = {
      timestamps: openSync(FILES.timestamps, 'r'),
      blackholeTimeout: openSync(FILES.blackholeTimeout, 'r'),
    };
  }

  read(name: SysctlName): number {
    const text = Buffer.alloc(16);
    const length = readSync(this.#files[name], text, 0, text.length, 0);
    return Number(text.toString('latin1', 0, length));
  }

  /** Its descriptor, for whoever reads it in the course of other system calls. */
  file(name: SysctlName): number {
    return this.#files[name];
  }

  close(): void {
    for (const file of Object.values(this.#files)) closeSync(file);
  }
}
