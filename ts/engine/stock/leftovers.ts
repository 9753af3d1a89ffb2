import { closeSync, openSync } from 'node:fs';
import { socketsIn } from '../../sys/diagnosis.ts';
import { close, flock, interfaces, LOCK_EX } from '../../sys/libc.ts';
import { TCP_STATE } from '../socket.ts';
import { decodeMark, MAPS, PHASE } from './layout.ts';
import { mapsOf } from './takeover.ts';
import { waysHere } from './ways.ts';

/** What engines that are gone have left on the interfaces of this network namespace. */
export type Leftovers =
  | { readonly outcome: 'none' | 'removed' | 'in use' }
  /** So many sockets would send SYNs without their tokens. */
  | { readonly outcome: 'needed'; readonly sockets: number };

/**
 * Takes the filters away, and what an engine may have made to hang them from where nothing else hangs; unless somebody
 * needs them. Needs CAP_SYS_ADMIN. Throws SysError.
 */
export function removeLeftovers(): Leftovers {
  const ways = waysHere();
  const programs = ways.flatMap((way) => way.all());
  if (programs.length === 0) return { outcome: 'none' };
  const lock = openSync('/proc/self/ns/net', 'r');
  try {
    // Every engine has a share in it.
    if (!flock(lock, LOCK_EX)) return { outcome: 'in use' };
    const sockets = programs.reduce((sum, program) => sum + countMarked(program), 0);
    if (sockets > 0) return { outcome: 'needed', sockets };
    for (const index of interfaces()) for (const way of ways) way.clear(index);
    return { outcome: 'removed' };
  } finally {
    closeSync(lock);
  }
}

/** Sockets whose SYN is held back by this program, or on its way. */
function countMarked(program: number): number {
  const maps = mapsOf(program);
  try {
    const marks = maps.get(MAPS.armed);
    if (marks === undefined) return 0;
    const phases = socketsIn([TCP_STATE.synSent], marks).map(({ value }) => decodeMark(value).phase);
    return phases.filter((phase) => phase === PHASE.hold || phase === PHASE.armed).length;
  } finally {
    for (const fd of maps.values()) close(fd);
  }
}
