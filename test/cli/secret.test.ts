import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fingerprint } from '../../ts/stealth/secret.ts';
import { runCommand } from './runCommand.ts';

let folder = '';
let path = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'knockify-secret-'));
  path = join(folder, 'secret');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What a secret's file must be after a success that said what `stdout` says. */
function expectFreshSecret(stdout: string): void {
  const contents = readFileSync(path);
  expect(contents).toHaveLength(64);
  expect(statSync(path).mode & 0o7777).toBe(0o600);
  expect(stdout).toContain(fingerprint(contents));
  expect(stdout).toContain(`KNOCK_SECRET=f:${path}`);
  expect(readdirSync(folder)).toEqual(['secret']);
}

describe('knockify secret', () => {
  test('writes 64 bytes with mode 0600, tells fingerprint and use', () => {
    const run = runCommand('secret', [path]);
    expect(run).toMatchObject({ status: 0, stderr: '' });
    expectFreshSecret(run.stdout);
  });

  test('the secret is one that knockify isn takes, and prints nothing of it', () => {
    const { stdout } = runCommand('secret', [path]);
    for (const form of ['hex', 'base64', 'latin1'] as const) {
      expect(stdout).not.toContain(readFileSync(path).subarray(0, 8).toString(form).slice(0, 8));
    }
    const run = runCommand('isn', ['--dest', '::1', '--port', '22'], { KNOCK_SECRET: `f:${path}` });
    expect(run.stdout).toMatch(/^0x[0-9a-f]{8}\n$/);
  });

  test('leaves a file that is there alone, and says what to do', () => {
    writeFileSync(path, 'old');
    const run = runCommand('secret', [path]);
    expect(run).toMatchObject({ status: 2, stdout: '' });
    expect(run.stderr).toMatch(/^knockify secret: [^\n]*exists[^\n]*--force[^\n]*\n$/);
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  test('--force replaces it, whatever its mode was', () => {
    writeFileSync(path, 'old');
    chmodSync(path, 0o666);
    const run = runCommand('secret', ['--force', path]);
    expect(run).toMatchObject({ status: 0, stderr: '' });
    expectFreshSecret(run.stdout);
  });

  test('--force makes a file where there is none', () => {
    const run = runCommand('secret', ['--force', path]);
    expect(run.status).toBe(0);
    expectFreshSecret(run.stdout);
  });

  test.each([
    { description: 'no file', args: () => [], why: 'file' },
    {
      description: 'a folder that is not there',
      args: () => [join(folder, 'a', 'b')],
      why: 'there is no folder',
    },
    { description: '--force on a folder', args: () => ['--force', folder], why: 'not a regular file' },
    { description: '--force on a device', args: () => ['--force', '/dev/null'], why: 'not a regular file' },
    {
      description: '--force on a symbolic link',
      args: () => ['--force', join(folder, 'link')],
      why: 'not a regular file',
    },
    { description: 'a symbolic link', args: () => [join(folder, 'link')], why: 'exists' },
  ])('refuses $description in one line, with status 2', ({ args, why }) => {
    symlinkSync('elsewhere', join(folder, 'link'));
    const run = runCommand('secret', args());
    expect(run.stderr).toMatch(/^knockify secret: [^\n]+\n$/);
    expect(run.stderr).toContain(why);
    expect(run).toMatchObject({ status: 2, stdout: '' });
    expect(readdirSync(folder)).toEqual(['link']);
  });
});
