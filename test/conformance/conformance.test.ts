import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LIBRARY, REPOSITORY, run } from '../lab/program.ts';
import { MODES, openStealthLab, type StealthLab } from '../lab/stealthlab.ts';
import { type Deviation, defects, differences } from './deviations.ts';
import { render } from './report.ts';
import {
  build,
  casesOf,
  difference,
  perform,
  SUBJECTS,
  type Subject,
  startPeers,
  transcript,
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

describe.each(SUBJECTS)('$name', (subject) => {
  test.each(casesOf(subject))('$name: $text', async ({ name, ways }) => {
    const command = commands.get(subject) ?? [];
    const outcomes = await Promise.all(ways.map((way) => perform(stealth, subject, command, name, way)));
    const [plain, ...stealthy] = outcomes;
    if (plain === undefined) throw new Error(`${name} did not run`);
    expect(plain.stderr).toBe('');
    for (const [i, outcome] of stealthy.entries()) {
      const mode = ways[i + 1] ?? 'plain';
      const known = `${subject.name}/${name}`;
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
  });
});

describe('leaks', () => {
  const subject = SUBJECTS.find(({ name }) => name === 'descriptors') as Subject;
  const clients = SUBJECTS.find(({ name }) => name === 'firstdata') as Subject;

  test.each(MODES)('%s: none of memory, says valgrind', async (mode) => {
    const valgrind = [
      'valgrind',
      '-q',
      '--leak-check=full',
      '--show-leak-kinds=all',
      '--errors-for-leak-kinds=definite,indirect,possible',
    ];
    const command = [...valgrind, '--error-exitcode=9', ...(commands.get(subject) ?? [])];
    const outcome = await perform(stealth, subject, command, 'memory', mode, {}, ['patiently']);
    expect(outcome).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });

  test.each(MODES)('%s: works with jemalloc in the place of malloc', async (mode) => {
    const jemalloc = '/usr/lib/x86_64-linux-gnu/libjemalloc.so.2';
    for (const [which, name] of [
      [subject, 'counted'],
      [subject, 'numbers_reused'],
      [clients, 'much'],
    ] as const) {
      const command = commands.get(which) ?? [];
      const plain = await perform(stealth, which, command, name, 'plain');
      const outcome = await perform(stealth, which, command, name, mode, {
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
