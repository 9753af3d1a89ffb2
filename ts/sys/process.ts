import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { artefact } from './artefacts.ts';
import { checked } from './error.ts';
import { library } from './foreign.ts';

const native = library(artefact('knockify_native.node'), {
  knk_harden: ['int', []],
  knk_unblock: ['int', ['int']],
  knk_notify: ['int', ['string', 'pointer', 'int', 'pointer', 'int']],
});

/**
 * Keeps what this process knows in it: no core dump (RLIMIT_CORE 0), no ptrace and no /proc/PID/mem for other
 * processes of the same user (PR_SET_DUMPABLE 0), no privileges gained by execve() (PR_SET_NO_NEW_PRIVS).
 */
export function harden(): void {
  checked('prctl', native.knk_harden());
}

/** Whether a process of another's is there, as far as this one's PID namespace shows. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Room for a name of TASK_COMM_LEN and a newline. */
const name = Buffer.alloc(32);

/** Not by readFileSync, which takes 64 KiB for each file whose size is not known before. */
function readName(path: string): string {
  const fd = openSync(path, 'r');
  try {
    return name.toString('utf8', 0, readSync(fd, name)).trimEnd();
  } finally {
    closeSync(fd);
  }
}

/** The name of a process; empty where it is not to be known: it is gone, or /proc doesn't show it to this user. */
export function programOf(pid: number): string {
  try {
    return readName(`/proc/${pid}/comm`);
  } catch {
    return '';
  }
}

/** Killed, though a thread of it still waits in the kernel. False where /proc doesn't tell. */
export function isKilled(pid: number): boolean {
  try {
    return /\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A descriptor that the service manager passed to this process, and the name it goes by. */
export interface HandedOver {
  readonly fd: number;
  readonly name: string;
}

/** SD_LISTEN_FDS_START of sd-daemon(3). */
const FIRST_DESCRIPTOR = 3;

/** What the service manager passed: sockets it listens on, and descriptors stored earlier (sd_listen_fds(3)). */
export function handedOver(env: Environment = process.env): HandedOver[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = env;
  if (LISTEN_PID !== String(process.pid)) return [];
  const names = LISTEN_FDNAMES.split(':');
  return Array.from({ length: Number(LISTEN_FDS) || 0 }, (_, index) => ({
    fd: FIRST_DESCRIPTOR + index,
    name: names[index] ?? '',
  }));
}

/** Makes calls on the descriptor return where they would wait, as they do on what is handed over. */
export function unblock(fd: number): void {
  checked('fcntl(F_SETFL)', native.knk_unblock(fd));
}

/**
 * Tells the service manager, if there is one, of a change of state: `VARIABLE=VALUE` lines of sd_notify(3), and
 * descriptors to store where they say so. Throws SysError.
 */
export function notify(
  state: string,
  descriptors: readonly number[] = [],
  env: Environment = process.env,
): void {
  const path = env.NOTIFY_SOCKET;
  if (path === undefined || path === '') return;
  const text = Buffer.from(state);
  const fds = Buffer.from(Int32Array.from(descriptors).buffer);
  checked(
    'notifying the service manager',
    native.knk_notify(path, text, text.length, fds, descriptors.length),
  );
}
