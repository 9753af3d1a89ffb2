import { readdirSync, readFileSync } from 'node:fs';
import { type Control, startControl } from './control.ts';
import type { Host, Lab } from './netns.ts';
import { type Program, start, stop, until } from './program.ts';

/** A control process that is killed in the middle of what it does. */
export interface Doomed {
  readonly control: Control;
  isAlive(): boolean;
  /** Lets it go on as it was. */
  relieve(): Promise<void>;
  end(): Promise<void>;
}

/** A fresh control process that will not survive its `when`-th system call of the name `call` from `doom` on. */
export async function startDoomed(lab: Lab, host: Host, call: string, when: number): Promise<Doomed> {
  const control = await startControl(lab, host);
  return doom(control, call, when);
}

export async function doom(control: Control, call: string, when: number): Promise<Doomed> {
  return afflict(control, call, `signal=SIGKILL:when=${when}`);
}

/** From here on the control process's system calls of a name go as strace's `fault` says: `error=ENOMEM`. */
export async function afflict(control: Control, call: string, fault: string): Promise<Doomed> {
  const { pid, host } = control.program;
  const strace = start(host, [
    'strace',
    ...['-f', '-qqq', '-o', '/dev/null', '-p', String(pid)],
    ...['-e', `trace=${call}`, '-e', `inject=${call}:${fault}`],
  ]);
  await until('strace to be attached', () => isTraced(pid) || !strace.isRunning());
  if (!strace.isRunning()) throw new Error(`strace does not run: ${strace.stderr()}`);
  return {
    control,
    isAlive: () => control.program.isRunning() && hasFiles(pid),
    relieve: () => detach(strace),
    end: async () => {
      // Detached first: a traced process does not get its SIGTERM before strace lets it.
      await detach(strace);
      await control.stop();
    },
  };
}

async function detach(strace: Program): Promise<void> {
  await stop(strace, 'SIGINT');
}

/**
 * Its clients hear of a process's end when its files are closed. Node hears of it when strace, its tracer, has let it go,
 * which can be later.
 */
function hasFiles(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).length > 0;
  } catch {
    return false;
  }
}

/** Whether every thread has a tracer. */
function isTraced(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every(
    (task) => !/^TracerPid:\t0$/m.test(readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8')),
  );
}
