import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LIBRARY, type Outcome, REPOSITORY, run } from '../lab/program.ts';
import { MODES, openStealthLab, type StealthLab } from '../lab/stealthlab.ts';
import { type Deviation, defects, differences } from './deviations.ts';
import { render } from './report.ts';
import {
  build,
  buildConstructor,
  casesOf,
  difference,
  FIRST_PORTS,
  perform,
  SUBJECTS,
  type Subject,
  startPeers,
  transcript,
  WAYS,
  type Way,
} from './transcripts.ts';

/** What a program sees of the library: nothing. Its transcript of every call is the same without it. */

let stealth: StealthLab;
const commands = new Map<Subject, readonly string[]>();
beforeAll(async () => {
  stealth = await openStealthLab();
  await startPeers(stealth);
  for (const subject of SUBJECTS) commands.set(subject, build(subject, stealth.lab));
});
afterAll(() => stealth?.close());

function expected(list: readonly Deviation[], name: string, mode: Way): Deviation | undefined {
  return list.find((entry) => entry.mode.includes(mode) && entry.cases.includes(name));
}

/** Runs a case in all its ways, and holds what differs from the first against what may. */
async function compare(known: string, ways: readonly Way[], go: (way: Way) => Promise<Outcome>) {
  const [plain, ...stealthy] = await Promise.all(ways.map(go));
  if (plain === undefined) throw new Error(`${known} did not run`);
  expect(plain.stderr).toBe('');
  for (const [i, outcome] of stealthy.entries()) {
    const mode = ways[i + 1] ?? 'plain';
    const found = difference(transcript(plain), transcript(outcome));
    const defect = expected(defects, known, mode);
    if (defect) console.warn(`known defect, ${known} (${mode}): ${defect.reason}\n${found.join('\n')}`);
    if (defect) {
      // Mended, it must leave the list.
      if (!defect.racy) expect(found).not.toEqual([]);
      continue;
    }
    const deviation = expected(differences, known, mode);
    expect({ mode, found }).toEqual({ mode, found: deviation?.lines ?? [] });
    // The library speaks only where it says why something differs.
    const said = outcome.stderr.split('\n').filter(Boolean);
    if (!deviation?.says) expect({ mode, said }).toEqual({ mode, said: [] });
    else expect(said.join('\n')).toMatch(deviation.says);
  }
}

describe.each(SUBJECTS)('$name', (subject) => {
  test.each(casesOf(subject))('$name: $text', async ({ name, ways }) => {
    const command = commands.get(subject) ?? [];
    await compare(`${subject.name}/${name}`, ways, (way) => perform(stealth, subject, command, name, way));
  });
});

function subjectNamed(name: string): Subject {
  const subject = SUBJECTS.find((one) => one.name === name);
  if (subject === undefined) throw new Error(`no subject ${name}`);
  return subject;
}

/** Quick cases of every kind, for the places that a program may call from. */
const ANYWHERE = Object.entries({
  connect: ['blocking', 'nonblocking', 'refused', 'unspecified', 'ipv6', 'bad_pointers'],
  readiness: ['selected', 'polled', 'epoll_waited', 'edge_before'],
  firstdata: ['by_sendmsg', 'by_writev', 'by_stdio', 'few_then_shutdown', 'corked'],
  options: ['defaults'],
  descriptors: ['copies', 'fork_shared', 'passed_begun', 'closed_ranges'],
  listen: ['basic', 'again', 'dual_stack'],
}).flatMap(([subject, names]) => names.map((name) => ({ subject, name })));

describe.each(['thread', 'child', 'handler'])('called from a %s', (from) => {
  test.each(ANYWHERE)('$subject: $name', async ({ subject, name }) => {
    const which = subjectNamed(subject);
    const command = commands.get(which) ?? [];
    await compare(`${subject}/${name}`, WAYS, (way) =>
      perform(stealth, which, command, name, way, {}, [from]),
    );
  });
});

describe("called from another library's constructor", () => {
  const libraries = new Map<Subject, string>();
  test.each(ANYWHERE)('$subject: $name', async ({ subject, name }) => {
    const which = subjectNamed(subject);
    const library = libraries.get(which) ?? buildConstructor(which, stealth.lab);
    libraries.set(which, library);
    await compare(`${subject}/${name}`, WAYS, (way) =>
      perform(stealth, which, ['true'], name, way, {
        LD_PRELOAD: way === 'plain' ? library : `${library}:${LIBRARY}`,
        CONFORMANCE_CASE: name,
        CONFORMANCE_PORT: String(FIRST_PORTS[way]),
      }),
    );
  });
});

describe('leaks', () => {
  test.each(MODES.flatMap((mode) => ['descriptors', 'listen'].map((name) => ({ mode, name }))))(
    '$mode: none of memory, says valgrind of $name',
    async ({ mode, name }) => {
      const valgrind = [
        'valgrind',
        '-q',
        '--leak-check=full',
        '--show-leak-kinds=all',
        '--errors-for-leak-kinds=definite,indirect,possible',
      ];
      const subject = subjectNamed(name);
      const command = [...valgrind, '--error-exitcode=9', ...(commands.get(subject) ?? [])];
      const outcome = await perform(stealth, subject, command, 'memory', mode, {}, ['patient']);
      expect(outcome).toMatchObject({ status: 0, stdout: '', stderr: '' });
    },
  );

  test.each(MODES)('%s: works with jemalloc in the place of malloc', async (mode) => {
    const jemalloc = '/usr/lib/x86_64-linux-gnu/libjemalloc.so.2';
    for (const [which, name] of [
      ['descriptors', 'counted'],
      ['descriptors', 'numbers_reused'],
      ['firstdata', 'much'],
      ['firstdata', 'by_stdio'],
      ['connect', 'in_handlers'],
      ['listen', 'prefork'],
    ] as const) {
      const subject = subjectNamed(which);
      const command = commands.get(subject) ?? [];
      const plain = await perform(stealth, subject, command, name, 'plain');
      const outcome = await perform(stealth, subject, command, name, mode, {
        LD_PRELOAD: `${jemalloc}:${LIBRARY}`,
      });
      expect(transcript(outcome)).toEqual(transcript(plain));
      expect(outcome.stderr).not.toMatch(/preload|jemalloc/);
    }
  });

  test('none of descriptors in a control process, after all of the above', async () => {
    for (const end of ['client', 'server'] as const) {
      const pid = stealth.controls[end].program.pid;
      const listed = await run(stealth[end], ['sh', '-c', `ls -l /proc/${pid}/fd | grep -c 'socket:'`]);
      // Its listener, and what node itself has; the sockets of two hundred cases would be hundreds.
      expect(Number(listed.stdout)).toBeLessThan(10);
    }
  });
});

test('docs/conformance.md is what these tables say', async () => {
  await expect(render()).toMatchFileSnapshot(join(REPOSITORY, 'docs/conformance.md'));
});
