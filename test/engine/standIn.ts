import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Lab } from '../lab/netns.ts';
import { type Knock, knockEnvironment, LIBRARY } from '../lab/program.ts';

/** One call that a process under the stand-in made: a line of knockKernel.c's log. */
export interface Call {
  /** Who called: the name that `under` was given. */
  readonly name: string;
  readonly pid: number;
  readonly call: 'setsockopt' | 'connect' | 'disconnect' | 'listen' | 'bpf';
  /** SO_COOKIE, the same in every process that has the socket. */
  readonly socket: string;
  readonly option?: number;
  readonly length?: number;
  /** What the stand-in answered; -1 where the real kernel did. */
  readonly errno?: number;
  /** Hex: the option's value, the address of a connect. */
  readonly value: string;
}

/** Programs that run on a kernel with the Knock patch, as far as their system calls tell. */
export interface StandIn {
  /** The command that runs another one on such a kernel, or, `unpatched`, on one that is known to have no patch. */
  under(name: string, command: readonly string[], kernel?: 'patched' | 'unpatched'): string[];
  /** What has been called since the last `clear`, by all processes, in order. */
  calls(): Call[];
  clear(): void;
}

const SOURCE = fileURLToPath(new URL('knockKernel.c', import.meta.url));

/** Its program and its log go with the lab's directory. */
export function buildStandIn(lab: Lab): StandIn {
  const program = join(lab.directory, 'knockKernel');
  const log = join(lab.directory, 'calls');
  execFileSync('gcc', ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', SOURCE, '-o', program]);
  return {
    under: (name, command, kernel = 'patched') => [
      program,
      ...(kernel === 'unpatched' ? ['-u'] : []),
      log,
      name,
      ...command,
    ],
    calls: () =>
      readFileSync(log, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Call),
    // Truncated, not removed: the stand-ins have it open.
    clear: () => writeFileSync(log, ''),
  };
}

/** Puts a command under the library, and not the stand-in that runs it. */
export function preloaded(settings: Knock | Pick<Knock, 'control'>, command: readonly string[]): string[] {
  const environment: Record<string, string> =
    'secret' in settings
      ? knockEnvironment(settings)
      : { LD_PRELOAD: LIBRARY, KNOCK_CONTROL: settings.control };
  return ['env', ...Object.entries(environment).map(([key, value]) => `${key}=${value}`), ...command];
}

/** By number, for the tables of the tests. TCP_NODELAY and its like are left out. */
const NAMES: Readonly<Record<number, string>> = {
  19: 'REPAIR',
  20: 'REPAIR_QUEUE',
  21: 'QUEUE_SEQ',
  25: 'NOTSENT_LOWAT',
  26: 'STEALTH',
  27: 'INTEGRITY',
  28: 'INTEGRITY_LEN',
  30: 'FASTOPEN_CONNECT',
  34: 'FASTOPEN_NO_COOKIE',
};

function telling({ call, option }: Call): boolean {
  return call !== 'setsockopt' || NAMES[option ?? -1] !== undefined;
}

/** `control STEALTH`, `curl connect`: who did what, without the options that say nothing here. */
export function steps(calls: readonly Call[]): string[] {
  return calls.filter(telling).map(({ name, call, option }) => `${name} ${NAMES[option ?? -1] ?? call}`);
}

/** What `steps` shows of one socket: that of the last connect or listen of the named one. */
export function onSocketOf(calls: readonly Call[], name: string, call: 'connect' | 'listen'): Call[] {
  const last = calls.findLast((entry) => entry.name === name && entry.call === call);
  return calls.filter((entry) => entry.socket === last?.socket && telling(entry));
}
