import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Program, until } from '../lab/program.ts';
import type { Invocation, Pair, Place } from './pair.ts';

/** Servers that replace their workers, their configuration or themselves while the port is in use. */

export interface Running {
  readonly program: Program;
  readonly place: Place;
}

export interface Reload {
  /** As the table in the docs shows it. */
  readonly name: string;
  /** Whose server it is, and which client must be served afterwards. */
  readonly pair: Pair;
  /** Returns once what is new has taken over. `launch` starts a further program like the server, under the library. */
  act(running: Running, launch: (invocation: Invocation) => Program): Promise<void>;
}

/** The process that wrote its number into a file of the server's; awaits that there is one, not `other`. */
export async function pidIn(place: Place, file: string, other?: number): Promise<number> {
  let pid = Number.NaN;
  await until(`a process id in ${file}`, () => {
    try {
      pid = Number.parseInt(readFileSync(join(place.directory, file), 'latin1'), 10);
    } catch {
      // Not written yet.
    }
    return pid > 0 && pid !== other;
  });
  return pid;
}

/** Process ids; none of a process that has ended. */
export function childrenOf(pid: number): number[] {
  try {
    const listed = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
    return listed.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Sends a signal to a server and waits until its children are others than before, all but `kept`. */
export async function replaceChildren(pid: number, signal: NodeJS.Signals, kept = 0): Promise<void> {
  await until(`children of process ${pid}`, () => childrenOf(pid).length > kept);
  const before = childrenOf(pid);
  process.kill(pid, signal);
  await until(`new children of process ${pid}`, () => {
    const now = childrenOf(pid);
    return now.length > kept && now.filter((child) => before.includes(child)).length === kept;
  });
}
