import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Host, inside, type Lab } from '../lab/netns.ts';
import { type Outcome, PYTHON, REPOSITORY, run, start, untilListening } from '../lab/program.ts';
import { MODES, type Mode, type StealthLab } from '../lab/stealthlab.ts';

/** Without the library, or with it in a mode. */
export type Way = 'plain' | Mode;
export const WAYS: readonly Way[] = ['plain', ...MODES];

/** One program; its cases are read from its source. */
export interface Subject {
  readonly name: string;
  readonly source: string;
  /** The end that the program runs at: a client talks to the services of peer.py. */
  readonly at: Host['name'];
}

export interface Case {
  readonly name: string;
  readonly text: string;
  readonly ways: readonly Way[];
}

export const SUBJECTS: readonly Subject[] = [
  { name: 'connect', source: 'connect.c', at: 'client' },
  { name: 'readiness', source: 'readiness.c', at: 'client' },
  { name: 'firstdata', source: 'firstdata.c', at: 'client' },
  { name: 'options', source: 'options.c', at: 'client' },
  { name: 'descriptors', source: 'descriptors.c', at: 'client' },
  { name: 'listen', source: 'listen.c', at: 'server' },
  { name: 'python', source: 'loops.py', at: 'client' },
];

const HERE = join(REPOSITORY, 'test/conformance');
/** Of the services that a subject talks to, or has itself. */
export const FIRST_PORTS: Readonly<Record<Way, number>> = { plain: 8400, auth: 8600, integrity: 8800 };
// Wrong arguments are the point of some cases.
const WRONG = ['-Wno-nonnull', '-Wno-stringop-overflow'];
const CASE = /^(?:@)?(CASE|SERVER_FIRST)\((?:(\w+), )?"([^"]*)"\)(?:\n(?:async )?def (\w+))?/gm;

/** `CASE(name, "text")` in C, `@CASE("text")` in front of a function in Python. */
export function casesOf(subject: Subject): Case[] {
  const text = readFileSync(join(HERE, subject.source), 'utf8');
  return [...text.matchAll(CASE)].map(([, kind, name, what, python]) => ({
    name: name ?? python ?? '',
    text: what ?? '',
    ways: kind === 'CASE' ? WAYS : (['plain', 'auth'] as const),
  }));
}

/** The command of each subject, but for case and port. */
export function build(subject: Subject, lab: Lab, flags: readonly string[] = []): readonly string[] {
  if (subject.source.endsWith('.py')) return [PYTHON, join(HERE, subject.source)];
  return [compile(subject, join(lab.directory, `conformance-${subject.name}`), flags)];
}

/** The same as a library that runs a case when it is loaded. */
export function buildConstructor(subject: Subject, lab: Lab): string {
  const library = join(lab.directory, `conformance-${subject.name}.so`);
  return compile(subject, library, ['-shared', '-fPIC', '-DCONSTRUCTOR']);
}

function compile(subject: Subject, target: string, flags: readonly string[]): string {
  const options = ['-std=c11', '-Wall', '-Wextra', '-Werror', '-O1', '-g', '-pthread', ...WRONG, ...flags];
  execFileSync('gcc', [...options, join(HERE, subject.source), '-o', target]);
  return target;
}

/** The services that the clients talk to, one set for each way; and the addresses that lead nowhere. */
export async function startPeers(stealth: StealthLab): Promise<void> {
  const { client, server } = stealth;
  inside(client, ['ip', 'route', 'add', 'unreachable', '198.51.100.0/24']);
  const nobody = ['192.0.2.66', 'lladdr', '02:00:00:00:02:66', 'dev', client.device, 'nud', 'permanent'];
  inside(client, ['ip', 'neigh', 'replace', ...nobody]);
  await Promise.all(
    WAYS.map(async (way) => {
      const first = FIRST_PORTS[way];
      const peer = start(server, [PYTHON, join(HERE, 'peer.py'), String(first)], {
        knock: knockOf(stealth, server, way),
      });
      for (let service = 0; service < 6; service++) await untilListening(peer, first + service);
    }),
  );
}

function knockOf(stealth: StealthLab, host: Host, way: Way) {
  return way === 'plain' ? undefined : stealth.knock(host, way);
}

export async function perform(
  stealth: StealthLab,
  subject: Subject,
  command: readonly string[],
  name: string,
  way: Way,
  env: Readonly<Record<string, string>> = {},
  more: readonly string[] = [],
): Promise<Outcome> {
  const host = stealth[subject.at];
  const knock = knockOf(stealth, host, way);
  const options = { knock, env: { ...env, PYTHONDONTWRITEBYTECODE: '1' }, timeout: 25_000 };
  return run(host, [...command, name, String(FIRST_PORTS[way]), ...more], options);
}

/** The lines of a program's output, and how it ended if that is worth a line. */
export function transcript(outcome: Outcome): string[] {
  const lines = outcome.stdout.split('\n').slice(0, -1);
  if (outcome.signal !== undefined) lines.push(`killed by ${outcome.signal}`);
  else if (outcome.status !== 0) lines.push(`status ${outcome.status}`);
  return lines;
}

/** What turns one transcript into the other: `- line` is not there any more, `+ line` is new. The longest common part is kept. */
export function difference(before: readonly string[], after: readonly string[]): string[] {
  const common: number[][] = Array.from({ length: before.length + 1 }, () => Array(after.length + 1).fill(0));
  const at = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      const length = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
      common[i]?.splice(j, 1, length);
    }
  }
  const lines: string[] = [];
  for (let i = 0, j = 0; i < before.length || j < after.length; ) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      i++;
      j++;
    } else if (i < before.length && (j === after.length || at(i + 1, j) >= at(i, j + 1))) {
      lines.push(`- ${before[i++]}`);
    } else {
      lines.push(`+ ${after[j++]}`);
    }
  }
  return lines;
}
