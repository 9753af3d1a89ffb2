import { cpus, loadavg, release, totalmem } from 'node:os';

/** What a result was measured on. */
export interface Machine {
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  /** Mebibytes. */
  readonly memory: number;
  readonly node: string;
  /** The load average of the last minute, when the row was begun: whatever else ran. */
  readonly load: number;
}

export function machine(): Machine {
  return {
    kernel: release(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memory: Math.round(totalmem() / 2 ** 20),
    node: process.version,
    load: loadavg()[0] ?? Number.NaN,
  };
}
