import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { artefact } from '../../ts/sys/artefacts.ts';

let scratch = '';
let program = '';
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'knockify-shim-'));
  program = join(scratch, 'untouched');
  const source = fileURLToPath(new URL('untouched.c', import.meta.url));
  execFileSync('gcc', ['-std=c11', '-O1', '-w', source, '-o', program]);
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function traced(name: string, preload: readonly string[]): { output: string; calls: string[] } {
  const trace = join(scratch, name);
  const output = execFileSync('strace', ['-o', trace, ...preload, program, join(scratch, 'data')], {
    encoding: 'utf8',
  });
  const lines = readFileSync(trace, 'utf8').split('\n');
  const marks = lines.flatMap((line, index) => (line.startsWith('getppid') ? [index] : []));
  expect(marks.length).toBe(2);
  // The random name of the scratch folder and kernel addresses differ from run to run; nothing else may.
  const calls = lines
    .slice((marks[0] ?? 0) + 1, marks[1])
    .map((line) => line.replace(/0x7f[0-9a-f]+/g, 'address'));
  return { output, calls };
}

describe('descriptors that are not TCP sockets', () => {
  it('cause the same system calls with the library as without it, and errno is kept', () => {
    const plain = traced('plain', []);
    const preloaded = traced('preloaded', ['-E', `LD_PRELOAD=${artefact('libknockify.so')}`]);
    expect(plain.calls.length).toBeGreaterThan(40);
    expect(preloaded.calls).toEqual(plain.calls);
    expect(preloaded.output).toBe('1 77 1\n');
  });
});
