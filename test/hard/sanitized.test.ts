import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  build,
  casesOf,
  perform,
  SUBJECTS,
  type Subject,
  startPeers,
  transcript,
} from '../conformance/transcripts.ts';
import { REPOSITORY } from '../lab/program.ts';
import { openStealthLab, type StealthLab } from '../lab/stealthlab.ts';

/** The library under the compiler's sanitizers, with the conformance programs: the same transcripts, and no report. */

interface Sanitizer {
  readonly name: string;
  readonly flag: string;
  /** Loaded ahead of the library; into a program that is not built for it. */
  readonly runtime: readonly string[];
  /** Whether the programs must be built for it, too. */
  readonly programs: boolean;
  readonly options: Readonly<Record<string, string>>;
}

const SANITIZERS: readonly Sanitizer[] = [
  {
    name: 'AddressSanitizer and UndefinedBehaviorSanitizer',
    flag: '-fsanitize=address,undefined',
    runtime: ['libasan.so', 'libubsan.so'],
    programs: false,
    // Leaks are valgrind's: here, the programs' own would be counted.
    options: { ASAN_OPTIONS: 'detect_leaks=0', UBSAN_OPTIONS: 'print_stacktrace=1' },
  },
  {
    name: 'ThreadSanitizer',
    flag: '-fsanitize=thread',
    runtime: [],
    programs: true,
    options: { TSAN_OPTIONS: 'die_after_fork=0 exitcode=0' },
  },
];

/** Transcripts that differ when they are made a second time: a port still in TIME-WAIT, a race of two threads. */
const CHANGING = ['bound_and_refused', 'other_thread_edge'];

/** The sanitizers' own wrappers of the C library look at the pointers before the kernel does. */
const BEYOND = ['bad_pointers'];

interface Target {
  readonly target_name: string;
  readonly sources: readonly string[];
  readonly cflags: readonly string[];
}

/** As binding.gyp has it. */
function buildLibrary(lab: StealthLab, { flag, name }: Sanitizer): string {
  const { targets } = JSON.parse(readFileSync(join(REPOSITORY, 'binding.gyp'), 'utf8')) as {
    targets: Target[];
  };
  const library = targets.find(({ target_name }) => target_name === 'knockify');
  if (library === undefined) throw new Error('binding.gyp has no target knockify');
  const path = join(lab.lab.directory, `libknockify-${name.slice(0, 6)}.so`);
  const map = `-Wl,--version-script=${join(REPOSITORY, 'shim/generated/libknockify.map')}`;
  const options = ['-shared', '-fPIC', '-O1', '-g', flag, ...library.cflags, map];
  execFileSync('gcc', [...options, ...library.sources, '-o', path], { cwd: REPOSITORY });
  return path;
}

function runtimePath(name: string): string {
  const path = execFileSync('gcc', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
  // A linker script in the place of the library: the real one is what it leads to.
  return execFileSync('readlink', ['-f', path], { encoding: 'utf8' }).trim();
}

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
  await startPeers(stealth);
});
afterAll(() => stealth?.close());

describe.each(SANITIZERS)('$name', (sanitizer) => {
  const { flag, runtime, programs, options } = sanitizer;
  const subjects = SUBJECTS.filter(({ source }) => !programs || source.endsWith('.c'));
  const commands = new Map<Subject, readonly string[]>();
  let preload: string;
  let reports: string;

  beforeAll(() => {
    preload = [...runtime.map(runtimePath), buildLibrary(stealth, sanitizer)].join(':');
    for (const subject of subjects) {
      const command = build(subject, stealth.lab, programs ? [flag] : []);
      // ThreadSanitizer has no room for its shadow where addresses are too random.
      commands.set(subject, programs ? ['setarch', '-R', ...command] : command);
    }
    reports = join(stealth.lab.directory, `reports-${sanitizer.name.slice(0, 6)}`);
    mkdirSync(reports);
  });

  const environment = () => {
    const entries = Object.entries(options).map(([key, value]) => [
      key,
      `${value} log_path=${reports}/report abort_on_error=0`.replaceAll(' ', ':'),
    ]);
    return { ...Object.fromEntries(entries), LD_PRELOAD: preload };
  };

  describe.each(subjects)('$name', (subject) => {
    const cases = casesOf(subject).filter(({ name }) => !BEYOND.includes(name));
    test.each(cases)('$name: $text', async ({ name, ways }) => {
      const command = commands.get(subject) ?? [];
      for (const way of ways.filter((each) => each !== 'plain')) {
        // One after the other: they have the same ports.
        const usual = await perform(stealth, subject, command, name, way, programs ? options : {});
        const sanitized = await perform(stealth, subject, command, name, way, environment());
        const found = readdirSync(reports).map((file) => readFileSync(join(reports, file), 'utf8'));
        expect(found).toEqual([]);
        if (!CHANGING.includes(name))
          expect({ way, said: transcript(sanitized) }).toEqual({ way, said: transcript(usual) });
      }
    });
  });
});
