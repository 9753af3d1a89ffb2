import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { Environment } from './preload.ts';
import { NOT_FOUND, NOT_RUNNABLE, ProgramError } from './program.ts';

/** How a command ended. */
export type Ending = { readonly status: number } | { readonly signal: NodeJS.Signals };

export interface Launch {
  /** A path: nothing is searched. */
  readonly program: string;
  /** argv, the name that it is called by first. */
  readonly argv: readonly string[];
  readonly env: Environment;
}

const HANDED_ON = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
  'SIGTSTP',
  'SIGWINCH',
] as const;
type HandedOn = (typeof HANDED_ON)[number];

/** What a terminal sends to its whole foreground process group: the command has it already. */
const FROM_TERMINAL: readonly HandedOn[] = ['SIGINT', 'SIGQUIT', 'SIGTSTP', 'SIGWINCH'];
/** What ends nobody who has not asked for it. */
const HARMLESS: readonly HandedOn[] = ['SIGCONT', 'SIGTSTP', 'SIGWINCH'];

/** Takes the signals of this process and hands them on to the command, once there is one. */
export class Signals {
  readonly #interrupted = new AbortController();
  readonly #handlers: readonly [HandedOn, () => void][];
  #command: ChildProcess | undefined;
  #fatal: HandedOn | undefined;

  constructor() {
    this.#handlers = HANDED_ON.map((signal) => [signal, () => this.#take(signal)]);
    for (const [signal, handler] of this.#handlers) process.on(signal, handler);
  }

  /** Aborted when a signal came that asks for the end before there was a command to give it to. */
  get interrupted(): AbortSignal {
    return this.#interrupted.signal;
  }

  /** That signal. */
  get fatal(): NodeJS.Signals | undefined {
    return this.#fatal;
  }

  /** Runs a command to its end, on our standard streams. Throws ProgramError where it can't be started. */
  run({ program, argv: [name = program, ...args], env }: Launch): Promise<Ending> {
    return new Promise((resolve, reject) => {
      const command = spawn(program, args, { argv0: name, env, stdio: 'inherit' });
      this.#command = command;
      command.once('error', (error: NodeJS.ErrnoException) => {
        const status = error.code === 'ENOENT' ? NOT_FOUND : NOT_RUNNABLE;
        reject(new ProgramError(`${name}: it can't be started: ${error.code}`, status));
      });
      command.once('exit', (status, signal) => {
        this.#command = undefined;
        resolve(signal === null ? { status: status ?? 0 } : { signal });
      });
    });
  }

  close(): void {
    for (const [signal, handler] of this.#handlers) process.off(signal, handler);
  }

  #take(signal: HandedOn): void {
    if (this.#command !== undefined) {
      if (!(FROM_TERMINAL.includes(signal) && inForeground())) this.#command.kill(signal);
    } else if (!HARMLESS.includes(signal)) {
      this.#fatal ??= signal;
      this.#interrupted.abort();
    }
    // As if there were no handler: the shell that waits for us sees a stopped job.
    if (signal === 'SIGTSTP') process.kill(process.pid, 'SIGSTOP');
  }
}

/** Whether this process is in the foreground of a terminal: proc(5), pgrp and tpgid. */
function inForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}

/** Ends this process as the command ended: with its status, or by the same signal. */
export function endLike(ending: Ending): never {
  if ('status' in ending) process.exit(ending.status);
  const { signal } = ending;
  // The command's core must not be overwritten by ours. Without prlimit it is.
  spawnSync('prlimit', ['--core=0', '--pid', String(process.pid)], { stdio: 'ignore' });
  try {
    // Node ignores SIGPIPE; taking a handler away restores the default.
    const none = () => {};
    process.once(signal, none).off(signal, none);
  } catch {
    // SIGKILL can't have a handler, and needs none.
  }
  process.kill(process.pid, signal);
  // Still here: a signal that stops or is blocked. Shells show it like this.
  process.exit(128 + constants.signals[signal]);
}
