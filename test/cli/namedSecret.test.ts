import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
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
import { DEFAULT_SECRETS } from '../../ts/cli/environment.ts';
import { fileOf } from '../../ts/config/secretNames.ts';
import { readFolder } from '../../ts/control/secretFolder.ts';
import { fingerprint } from '../../ts/stealth/secret.ts';
import { runCommand } from './runCommand.ts';

let base: string;
let folder: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'knockify-named-'));
  folder = join(base, 'etc', 'secrets.d');
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const secret = (...args: string[]) => runCommand('secret', [...args, '--secrets', folder]);
const at = (file: string) => join(folder, file);
const files = () => readdirSync(folder).sort();

function fails(run: ReturnType<typeof secret>, command: string, ...pieces: string[]): void {
  expect(run.stderr).toMatch(new RegExp(`^knockify secret ${command}: [^\\n]+\\n$`));
  for (const piece of pieces) expect(run.stderr).toContain(piece);
  expect(run).toMatchObject({ status: 2, stdout: '' });
}

/** What is there must be what a control process accepts. */
function accepted(): string[] {
  const { found, refused } = readFolder(folder, { user: statSync(folder).uid, now: Date.now() });
  expect(refused).toEqual([]);
  return found.map(({ name, until }) => (until === undefined ? name : `${name} (old)`));
}

describe('knockify secret add', () => {
  test('makes a secret, and the folder for it, for their owner alone; tells the fingerprint', () => {
    const run = secret('add', 'alice');
    expect(run).toMatchObject({ status: 0, stderr: '' });
    expect(statSync(folder).mode & 0o7777).toBe(0o700);
    expect(statSync(at('alice.secret')).mode & 0o7777).toBe(0o600);
    expect(run.stdout).toContain(`fingerprint ${fingerprint(readFileSync(at('alice.secret')))}\n`);
    expect(run.stdout).toContain(at('alice.secret'));
    expect(files()).toEqual(['alice.secret']);
    expect(accepted()).toEqual(['alice']);
  });

  test("its files are the folder's owner's", () => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chownSync(folder, 4711, 4712);
    secret('add', 'alice');
    secret('rotate', 'alice');
    for (const file of files()) expect(statSync(at(file))).toMatchObject({ uid: 4711, gid: 4712 });
    expect(accepted()).toEqual(['alice', 'alice (old)']);
  });

  test('leaves one that is there alone, and says what to do', () => {
    secret('add', 'alice');
    const before = readFileSync(at('alice.secret'));
    fails(secret('add', 'alice'), 'add', 'already', 'knockify secret rotate alice');
    expect(readFileSync(at('alice.secret'))).toEqual(before);
  });

  test('refuses a 65th', () => {
    secret('add', 'alice');
    for (let i = 1; i < 64; i++) writeFileSync(at(`user${i}.secret`), `${i}`, { mode: 0o600 });
    fails(secret('add', 'bob'), 'add', '64 secrets', 'revoke');
    fails(
      secret('rotate', 'alice'),
      'rotate',
      '64 secrets',
      'revoke one first, or do without the old one: --keep-old 0',
    );
    expect(secret('rotate', 'alice', '--keep-old', '0').status).toBe(0);
    expect(files()).toHaveLength(64);
    expect(existsSync(at('bob.secret'))).toBe(false);
  });

  test.each(['', '.', '../alice', 'a b', '-x', 'a.secret', 'x'.repeat(65)])('refuses the name %j', (name) => {
    const run = runCommand('secret', ['add', '--secrets', folder, '--', name]);
    expect(run.stderr).toMatch(/^knockify secret add: [^\n]+ no name for a secret; must be letters[^\n]+\n$/);
    expect(run.status).toBe(2);
    expect(existsSync(folder)).toBe(false);
  });
});

describe('knockify secret rotate', () => {
  test('puts a new secret in place of the old one, which stays valid for a day', () => {
    secret('add', 'alice');
    const old = readFileSync(at('alice.secret'));
    const before = Date.now();
    const run = secret('rotate', 'alice');
    expect(run).toMatchObject({ status: 0, stderr: '' });
    expect(readFileSync(at('alice.secret'))).not.toEqual(old);
    const { found } = readFolder(folder, { user: statSync(folder).uid, now: Date.now() });
    expect(found).toMatchObject([
      { name: 'alice', until: undefined, secret: new Uint8Array(readFileSync(at('alice.secret'))) },
      { name: 'alice', secret: new Uint8Array(old) },
    ]);
    const until = found[1]?.until ?? 0;
    expect(until).toBeGreaterThanOrEqual(before + 24 * 3600_000);
    expect(until).toBeLessThanOrEqual(Date.now() + 24 * 3600_000 + 1000);
    expect(run.stdout).toContain(`until ${new Date(until).toISOString().replace('.000', '')}`);
    expect(files()).toEqual(['alice.secret', fileOf('alice', until)]);
  });

  test('keeps several, each for its own time', () => {
    secret('add', 'alice');
    for (const keep of ['1h', '1h', '2h']) secret('rotate', 'alice', '--keep-old', keep);
    expect(accepted()).toEqual(['alice', 'alice (old)', 'alice (old)', 'alice (old)']);
    const contents = files().map((file) => readFileSync(at(file)).toString('hex'));
    expect(new Set(contents).size).toBe(4);
  });

  test('with --keep-old 0 keeps none, earlier ones neither', () => {
    secret('add', 'alice');
    secret('rotate', 'alice');
    expect(secret('rotate', 'alice', '--keep-old', '0').stdout).toContain('not valid any more');
    expect(files()).toEqual(['alice.secret']);
  });

  test('sweeps away what has expired', () => {
    secret('add', 'alice');
    writeFileSync(at(fileOf('bob', Date.now() - 1000)), 'x', { mode: 0o600 });
    secret('rotate', 'alice', '--keep-old', '0');
    expect(files()).toEqual(['alice.secret']);
  });

  test('refuses what is not there, no file or no time', () => {
    secret('add', 'alice');
    fails(secret('rotate', 'bob'), 'rotate', 'no secret bob', 'knockify secret list');
    fails(secret('rotate', 'alice', '--keep-old', 'long'), 'rotate', 'long', '24h');
    symlinkSync('alice.secret', at('link.secret'));
    fails(secret('rotate', 'link'), 'rotate', 'link.secret', 'not a regular file');
    expect(files()).toEqual(['alice.secret', 'link.secret']);
  });
});

describe('a secret that goes by two names', () => {
  beforeEach(() => {
    secret('add', 'alice');
    copyFileSync(at('alice.secret'), at('spare.secret'));
  });

  test('is shown by list', () => {
    const run = secret('list');
    expect(run).toMatchObject({ status: 1, stderr: '' });
    expect(run.stdout).toContain(
      `!! ${at('spare.secret')} is not accepted: it is the same secret as alice.secret`,
    );
  });

  test.each([
    ['revoke', []],
    ['rotate', ['--keep-old', '0']],
  ])('is still accepted by the other after %s, which says so', (command, options) => {
    const run = secret(command, 'alice', ...options);
    expect(run.status).toBe(2);
    expect(run.stderr).toContain('the same secret is there as spare, and accepted; revoke that, too');
    expect(secret('revoke', 'spare')).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('knockify secret revoke', () => {
  test('takes a secret away with all that it replaced, and no other', () => {
    for (const name of ['alice', 'alice.b', 'bob']) secret('add', name);
    secret('rotate', 'alice');
    const run = secret('revoke', 'alice');
    expect(run).toMatchObject({ status: 0, stderr: '' });
    expect(files()).toEqual(['alice.b.secret', 'bob.secret']);
    fails(secret('revoke', 'alice'), 'revoke', 'no secret alice');
  });
});

describe('knockify secret list', () => {
  test('shows names, fingerprints and times, and no secret', () => {
    secret('add', 'bob');
    secret('add', 'alice');
    secret('rotate', 'alice');
    const run = secret('list');
    expect(run).toMatchObject({ status: 0, stderr: '' });
    const print = (file: string) => fingerprint(readFileSync(at(file)));
    const [, old = ''] = files();
    expect(run.stdout.split('\n')).toEqual([
      'NAME   FINGERPRINT     STATE',
      `alice  ${print('alice.secret')}  valid`,
      expect.stringMatching(new RegExp(`^alice  ${print(old)}  old, valid until \\d{4}-[-\\dT:]+Z$`)),
      `bob    ${print('bob.secret')}  valid`,
      '',
    ]);
  });

  test('names what is refused, and says so by its status', () => {
    secret('add', 'alice');
    writeFileSync(at('bad.secret'), '');
    const run = secret('list');
    expect(run.status).toBe(1);
    expect(run.stdout).toContain(`\n!! ${at('bad.secret')} is not accepted: `);
    expect(run.stdout).toContain('alice');
  });

  test('of an empty folder shows that there are none', () => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    expect(secret('list')).toMatchObject({ status: 0, stdout: 'no secrets\n', stderr: '' });
  });

  test('of a folder that others can write to says how to mend that', () => {
    folder = join(base, "Alice's own", 'secrets.d');
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
    const mended = `chmod go-w '${base}/Alice'\\''s own/secrets.d'`;
    const run = secret('list');
    expect(run).toMatchObject({ status: 1, stderr: '' });
    expect(run.stdout).toContain(`mend that with: ${mended}\n`);
    execFileSync('sh', ['-c', mended]);
    expect(secret('list')).toMatchObject({ status: 0 });
  });
});

test('what cannot be made is named, with the reason', () => {
  writeFileSync(join(base, 'etc'), 'a file');
  fails(secret('add', 'alice'), 'add', `the folder ${folder} can't be made (ENOTDIR)`);
  folder = '/proc/nobody/makes/folders/here';
  fails(secret('add', 'alice'), 'add', "the folder /proc/nobody can't be made (ENOENT)");
});

describe('without the folder', () => {
  test.each(['list', 'revoke', 'rotate'])('%s of one that was named says how to get it', (command) => {
    fails(
      secret(command, ...(command === 'list' ? [] : ['alice'])),
      command,
      `there is no folder ${folder}; 'knockify secret add NAME' makes it`,
    );
    expect(existsSync(folder)).toBe(false);
  });

  test('list of the usual one shows that there are none', () => {
    const run = runCommand('secret', ['list']);
    const none = `no secrets: there is no folder ${DEFAULT_SECRETS}; 'knockify secret add NAME' makes it\n`;
    expect(run.stderr).toBe('');
    expect([run.status, run.stdout === none]).toEqual(
      existsSync(DEFAULT_SECRETS) ? [expect.any(Number), false] : [0, true],
    );
  });
});

test('the form without a name goes on making files', () => {
  const path = join(base, 'add.key');
  expect(runCommand('secret', [path]).status).toBe(0);
  expect(readFileSync(path)).toHaveLength(64);
});
