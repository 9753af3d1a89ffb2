import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Bench } from './bench.ts';

/** How long guards take, by the kernel's own statistics of BPF programs. */

const STATISTICS = '/proc/sys/kernel/bpf_stats_enabled';

interface Program {
  readonly id: number;
  readonly name?: string;
  readonly run_time_ns?: number;
  readonly run_cnt?: number;
}

/** All that are loaded. */
export function programs(): Program[] {
  return JSON.parse(execFileSync('bpftool', ['-j', 'prog', 'show'], { encoding: 'utf8' }));
}

/** Nanoseconds of a run of the program while `work` is done. */
export async function runTime(id: number, work: () => Promise<unknown>): Promise<number> {
  const read = () => programs().find((program) => program.id === id) ?? { id };
  const before = read();
  await work();
  const after = read();
  const runs = (after.run_cnt ?? 0) - (before.run_cnt ?? 0);
  return ((after.run_time_ns ?? 0) - (before.run_time_ns ?? 0)) / runs;
}

/** The guard that was loaded since `before`: the new one that a flood of the port makes run most. */
export async function newGuard(bench: Bench, port: number, before: ReadonlySet<number>): Promise<number> {
  await bench.handshakes(port);
  const fresh = programs().filter(({ id, name }) => !before.has(id) && name?.startsWith('knock_guard'));
  const [most] = fresh.sort((a, b) => (b.run_cnt ?? 0) - (a.run_cnt ?? 0));
  if (most === undefined) throw new Error('no guard was loaded');
  return most.id;
}

/** `runTime` and `newGuard` need the statistics on. */
export async function withStatistics<T>(work: () => Promise<T>): Promise<T> {
  const kept = readFileSync(STATISTICS, 'latin1');
  const restore = () => writeFileSync(STATISTICS, kept);
  // A signal ends the process without coming by here again.
  process.once('exit', restore);
  writeFileSync(STATISTICS, '1');
  try {
    return await work();
  } finally {
    process.off('exit', restore);
    restore();
  }
}
