import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** native/hands.c, by a program of its own. What the kernel makes it wait for is in test/lab/stalling.test.ts. */

const HERE = fileURLToPath(new URL('.', import.meta.url));
const SOURCES = ['hands', 'behind', 'handed', 'closing', 'crowds', 'debts', 'threads', 'brief', 'sys'];

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'knockify-hands-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test.each(['-fsanitize=thread', '-fsanitize=address,undefined'])(
  'hands: %s',
  { timeout: 120_000 },
  (flag) => {
    const program = join(directory, `hands${flag.replaceAll(/\W/g, '-')}`);
    const sources = [join(HERE, 'hands.c'), ...SOURCES.map((name) => join(HERE, `../../native/${name}.c`))];
    const flags = [
      '-std=gnu11',
      '-g',
      '-O1',
      '-pthread',
      '-Wall',
      '-Wextra',
      '-Werror',
      '-fno-omit-frame-pointer',
      flag,
    ];
    execFileSync('gcc', [...flags, '-o', program, ...sources]);
    // Without address randomisation: ThreadSanitizer can't do with as much of it as some kernels have.
    expect(execFileSync('setarch', ['-R', program], { encoding: 'utf8' })).toBe('done\n');
  },
);
