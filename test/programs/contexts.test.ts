import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startLighttpd } from '../lab/lighttpd.ts';
import { LIBRARY, REPOSITORY, run } from '../lab/program.ts';
import { MODES, openStealthLab, portOf, type StealthLab } from '../lab/stealthlab.ts';

/** The library works wherever a program may call it from. */

const CONTEXTS = [
  { context: 'main', prints: '200\n' },
  { context: 'thread', prints: '200\n' },
  { context: 'child', prints: '200\n' },
  { context: 'handler', prints: '200\n' },
  { context: 'shared', prints: '200\n' },
  { context: 'duplicated', prints: '200\n' },
  { context: 'twins', prints: '200\n' },
  { context: 'reused', prints: 'same number 200\n' },
  { context: 'vforked', prints: '200\n' },
  { context: 'titled', prints: '200\n' },
];

let stealth: StealthLab;
let program: string;
let early: string;
beforeAll(async () => {
  stealth = await openStealthLab();
  const { lab, server } = stealth;
  const source = join(REPOSITORY, 'test/programs/contexts.c');
  program = join(lab.directory, 'contexts');
  early = join(lab.directory, 'constructor.so');
  execFileSync('gcc', ['-std=c11', '-Wall', '-Wextra', '-pthread', source, '-o', program]);
  execFileSync('gcc', ['-std=c11', '-w', '-shared', '-fPIC', '-DCONSTRUCTOR', source, '-o', early]);
  await Promise.all(
    MODES.map((mode) =>
      startLighttpd(lab, { family: 'ipv4', port: portOf('ipv4', mode), knock: stealth.knock(server, mode) }),
    ),
  );
});
afterAll(() => stealth?.close());

describe.each(MODES)('%s', (mode) => {
  test.each(CONTEXTS)('from $context', async ({ context, prints }) => {
    const file = join(stealth.lab.directory, `${context}-${mode}`);
    const command = [program, context, String(portOf('ipv4', mode)), file];
    const outcome = await run(stealth.client, command, { knock: stealth.knock(stealth.client, mode) });
    expect(outcome).toMatchObject({ stdout: prints, stderr: '', status: 0 });
    if (context === 'reused') expect(readFileSync(file, 'utf8')).toBe('for the file');
  });

  test("from another library's constructor", async () => {
    const outcome = await run(stealth.client, ['true'], {
      knock: stealth.knock(stealth.client, mode),
      env: { LD_PRELOAD: `${early}:${LIBRARY}`, CONTEXT_PORT: String(portOf('ipv4', mode)) },
    });
    expect(outcome).toMatchObject({ stdout: '200\n', status: 0 });
  });
});
