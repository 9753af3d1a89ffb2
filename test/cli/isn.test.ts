import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VECTORS } from '../stealth/vectors.ts';
import { runCommand } from './runCommand.ts';

const SSH = ['--dest', '::1', '--port', '22'];
const SSH_ISN = '0xfdc0a68f\n';
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'knockify-isn-'));
  file('secret', 'secret');
  file('empty', '');
  file('rc', 'KNOCK_SECRET=secret\n');
  file('sections', '[192.0.2.0/24]\nKNOCK_SECRET=other\n[[::1]:22]\nKNOCK_SECRET=secret\n');
  file('open-rc', 'KNOCK_SECRET=secret\n', 0o644);
  file('.knockrc', `KNOCK_SECRET=f:${join(folder, 'secret')}\n`);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string, mode = 0o600): void {
  writeFileSync(join(folder, name), text);
  chmodSync(join(folder, name), mode);
}

const at = (name: string) => join(folder, name);

describe('knockify isn', () => {
  test.each(VECTORS)('$dest port $port payload $payload is $isn', (vector) => {
    const payload = vector.payload === undefined ? [] : ['--payload', vector.payload];
    const run = runCommand(
      'isn',
      [
        '--dest',
        vector.dest,
        '--port',
        `${vector.port}`,
        '--tsval',
        `0x${vector.tsval.toString(16)}`,
        ...payload,
      ],
      { KNOCK_SECRET: vector.secret },
    );
    expect(run).toMatchObject({
      status: 0,
      stderr: '',
      stdout: `0x${vector.isn.toString(16).padStart(8, '0')}\n`,
    });
  });

  test('decimal TSval and a payload in hex', () => {
    const args = ['--dest', '192.18.42.42', '--port', '4242', '--tsval', `${0x11223344}`];
    const payload = Buffer.from('Protected payload goes here.').toString('hex');
    const run = runCommand('isn', [...args, '--payload-hex', payload], {
      KNOCK_SECRET: 'Magic secret string',
    });
    expect(run).toMatchObject({ status: 0, stderr: '', stdout: '0x2153ff96\n' });
  });

  test('an ISN is padded to eight digits', () => {
    const run = runCommand('isn', [...SSH, '--tsval', '366'], { KNOCK_SECRET: 'secret' });
    expect(run.stdout).toBe('0x0007d08c\n');
  });

  test.each([
    {
      description: '--secret-file',
      args: () => ['--secret-file', at('secret')],
      env: () => ({ KNOCK_SECRET: 'other' }),
    },
    {
      description: 'KNOCK_SECRET before the rc file',
      args: () => [],
      env: () => ({ KNOCK_SECRET: 'h:736563726574', KNOCK_RC: at('.knockrc') }),
    },
    {
      description: 'KNOCK_SECRET naming a file',
      args: () => [],
      env: () => ({ KNOCK_SECRET: `f:${at('secret')}` }),
    },
    { description: 'KNOCK_RC', args: () => [], env: () => ({ KNOCK_RC: at('rc') }) },
    {
      description: 'the section for the destination',
      args: () => [],
      env: () => ({ KNOCK_RC: at('sections') }),
    },
    { description: '~/.knockrc naming a file', args: () => [], env: () => ({ HOME: folder }) },
  ])('takes the secret from $description', ({ args, env }) => {
    expect(runCommand('isn', [...SSH, ...args()], env())).toMatchObject({
      status: 0,
      stderr: '',
      stdout: SSH_ISN,
    });
  });

  test('a secret of bytes that are not UTF-8 arrives as it is', () => {
    // Node can't put such bytes into a child's environment; a shell can.
    const root = fileURLToPath(new URL('../..', import.meta.url));
    const main = `
      import { loadLocalPolicy } from './ts/cli/localPolicy.ts';
      process.stdout.write(Buffer.from(loadLocalPolicy().secret.subarray(0, 4)).toString('hex'));`;
    const script = `KNOCK_SECRET="$(printf '\\377a\\200')" exec "$0" --import tsx --input-type=module --eval "$1"`;
    const run = spawnSync('/bin/sh', ['-c', script, process.execPath, main], {
      cwd: root,
      env: { HOME: '/nonexistent', PATH: '/usr/bin:/bin' },
      encoding: 'utf8',
    });
    expect(run).toMatchObject({ status: 0, stderr: '', stdout: 'ff618000' });
  });

  test.each([
    { description: 'no secret', args: () => SSH, env: () => ({}), why: 'set KNOCK_SECRET' },
    { description: 'no port', args: () => ['--dest', '::1'], env: () => ({}), why: '--port' },
    {
      description: 'port 0',
      args: () => ['--dest', '::1', '--port', '0'],
      env: () => ({}),
      why: '1 to 65535',
    },
    {
      description: 'a host name',
      args: () => ['--dest', 'localhost', '--port', '1'],
      env: () => ({}),
      why: '"localhost"',
    },
    {
      description: 'a TSval of 33 bits',
      args: () => [...SSH, '--tsval', '0x100000000'],
      env: () => ({}),
      why: '0 to 4294967295',
    },
    {
      description: 'odd hex',
      args: () => [...SSH, '--payload-hex', 'abc'],
      env: () => ({}),
      why: 'hex digits',
    },
    { description: 'an empty payload', args: () => [...SSH, '--payload', ''], env: () => ({}), why: 'empty' },
    {
      description: 'two payloads',
      args: () => [...SSH, '--payload', 'a', '--payload-hex', '61'],
      env: () => ({}),
      why: 'cannot be used with',
    },
    {
      description: 'an unknown option',
      args: () => [...SSH, '--destt', 'a'],
      env: () => ({}),
      why: '--destt',
    },
    { description: 'an argument too many', args: () => [...SSH, 'more'], env: () => ({}), why: 'arguments' },
    {
      description: 'a missing --secret-file',
      args: () => [...SSH, '--secret-file', at('none')],
      env: () => ({}),
      why: '--secret-file: ',
    },
    {
      description: 'an empty --secret-file',
      args: () => [...SSH, '--secret-file', at('empty')],
      env: () => ({}),
      why: 'is empty',
    },
    {
      description: 'a missing f: file',
      args: () => SSH,
      env: () => ({ KNOCK_SECRET: `f:${at('none')}` }),
      why: 'ENOENT',
    },
    {
      description: 'a missing KNOCK_RC',
      args: () => SSH,
      env: () => ({ KNOCK_RC: at('none') }),
      why: 'KNOCK_RC=',
    },
    {
      description: 'an rc file that is a folder',
      args: () => SSH,
      env: () => ({ KNOCK_RC: folder }),
      why: 'not a regular file',
    },
    {
      description: 'an rc file that others can read',
      args: () => SSH,
      env: () => ({ KNOCK_RC: at('open-rc') }),
      why: 'chmod 600',
    },
  ])('refuses $description in one line, with status 2', ({ args, env, why }) => {
    const run = runCommand('isn', args(), env());
    expect(run.stderr).toMatch(/^knockify isn: [^\n]+\n$/);
    expect(run.stderr).toContain(why);
    expect(run).toMatchObject({ status: 2, stdout: '' });
  });

  test('--help tells the options and exits with 0', () => {
    const run = runCommand('isn', ['--help']);
    expect(run).toMatchObject({ status: 0, stderr: '' });
    expect(run.stdout).toContain('--secret-file');
  });
});
