import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { ListenerStatus } from '../spec/status.ts';
import { programOf } from '../sys/process.ts';

/** Names for numbers, as far as this user can find them out. */

const users = new Map<number, string | null>();

/** The name of a user, null if there is none. What NSS knows beyond the files (LDAP, systemd) only getent can tell. */
export function userName(uid: number): string | null {
  let name = users.get(uid);
  if (name === undefined) {
    const found = spawnSync('getent', ['passwd', String(uid)], { encoding: 'utf8' });
    name = (found.status === 0 && found.stdout.split(':')[0]) || null;
    users.set(uid, name);
  }
  return name;
}

/** USER_HZ: 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;
/** The boot time has no fractions. Milliseconds. */
const ROUNDING = 2000;

/** Milliseconds since the epoch; undefined where there is no such process. */
function startOf(pid: number): number | undefined {
  try {
    // The name may hold blanks and brackets; what comes behind its last bracket does not.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    const boot = /^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'latin1'))?.[1];
    return (Number(boot) + Number(fields[19]) / TICKS_PER_SECOND) * 1000;
  } catch {
    return undefined;
  }
}

/** A hardened control process does not see other users' programs; whoever asks may. */
export function programNow(pid: number, since: string): string | null {
  const start = startOf(pid);
  // A later process may have the number.
  if (start === undefined || start > Date.parse(since) + ROUNDING) return null;
  return programOf(pid) || null;
}

/** The processes that have one of these sockets open, the oldest first, as far as this user may look. */
function holders(inodes: ReadonlySet<number>): Map<number, number> {
  const found = new Map<number, number>();
  const pids = readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0);
  for (const pid of pids.sort((a, b) => a - b)) {
    for (const inode of socketsOf(pid)) if (inodes.has(inode) && !found.has(inode)) found.set(inode, pid);
  }
  return found;
}

function socketsOf(pid: number): number[] {
  try {
    const links = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []).map(Number);
  } catch {
    // Gone, or another user's.
    return [];
  }
}

/** With the names that the control process left out. A server that became a daemon listened in a process that is gone. */
export function named(listeners: readonly ListenerStatus[]): ListenerStatus[] {
  const found = listeners.map((listener) => {
    const { program, pid, uid, since } = listener;
    const now = programNow(pid, since);
    return { ...listener, program: program ?? now, user: userName(uid), gone: now === null };
  });
  const orphans = new Set(found.filter(({ gone }) => gone).map(({ inode }) => inode));
  const known = orphans.size === 0 ? new Map<number, number>() : holders(orphans);
  return found.map(({ gone: _, ...listener }) => {
    const pid = known.get(listener.inode);
    if (pid === undefined) return listener;
    return { ...listener, pid, program: programOf(pid) || listener.program };
  });
}
