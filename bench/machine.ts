import { spawnSync } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

/** What a result was measured on. */
export interface Machine {
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  /** Mebibytes. */
  readonly memory: number;
  readonly node: string;
  /** What was measured; undefined where that is no checkout of git. */
  readonly commit?: string | undefined;
  /** The load average of the last minute, when the row was begun: whatever else ran. */
  readonly load: number;
}

function commit(): string | undefined {
  const cwd = fileURLToPath(new URL('.', import.meta.url));
  const { status, stdout } = spawnSync('git', ['rev-parse', '--short=12', 'HEAD'], { cwd, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

export function machine(): Machine {
  return {
    kernel: release(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memory: Math.round(totalmem() / 2 ** 20),
    node: process.version,
    commit: commit(),
    load: loadavg()[0] ?? Number.NaN,
  };
}
