import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inside, type Lab, openLab } from '../lab/netns.ts';
import { PYTHON, REPOSITORY, run, start, stop, untilListening } from '../lab/program.ts';

/** What `npm pack` makes, installed with npm where there is no clang, and used in two network namespaces. */

const PORT = 8700;
const REQUEST = 'over the installed package';
/** npm fetches and node-gyp compiles. Milliseconds. */
const INSTALLATION = 300_000;

let lab: Lab;
let knockify: string;
let secret: string;

function npm(directory: string, args: readonly string[], path = process.env.PATH): string {
  return execFileSync('npm', args, {
    cwd: directory,
    env: { PATH: path, HOME: process.env.HOME },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function pathWithoutClang(): string {
  const folder = join(lab.directory, 'bin');
  mkdirSync(folder);
  writeFileSync(join(folder, 'clang'), '#!/bin/sh\necho there is no clang >&2\nexit 127\n');
  chmodSync(join(folder, 'clang'), 0o755);
  return `${folder}:${process.env.PATH}`;
}

beforeAll(() => {
  lab = openLab();
  npm(REPOSITORY, ['pack', `--pack-destination=${lab.directory}`]);
  const [packed = ''] = readdirSync(lab.directory).filter((name) => name.endsWith('.tgz'));
  const scratch = join(lab.directory, 'scratch');
  mkdirSync(scratch);
  writeFileSync(join(scratch, 'package.json'), '{ "private": true }\n');
  const tarball = join(lab.directory, packed);
  npm(scratch, ['install', '--prefer-offline', '--loglevel=error', tarball], pathWithoutClang());
  knockify = join(scratch, 'node_modules/.bin/knockify');
  secret = join(lab.directory, 'secret');
  execFileSync(knockify, ['secret', secret]);
}, INSTALLATION);
afterAll(() => lab?.close());

test('finds nothing missing', () => {
  const { stdout, status } = spawnSync(
    'ip',
    ['netns', 'exec', lab.server.namespace, 'env', `KNOCK_SECRET=f:${secret}`, knockify, 'doctor'],
    { encoding: 'utf8' },
  );
  expect(stdout).toContain('as a server: yes');
  expect(stdout).not.toMatch(/^!!/m);
  expect(status).toBe(0);
});

test('hides a server from everybody but those who run under it with the secret', async () => {
  const under = [knockify, 'run', '--secret-file', secret, '--'];
  const address = lab.server.addresses.ipv4;
  const server = start(lab.server, [
    ...under,
    PYTHON,
    `${REPOSITORY}/test/programs/acceptor.py`,
    address,
    String(PORT),
  ]);
  await untilListening(server, PORT, 30_000);
  const curl = ['curl', '-sS', '-m', '8', '--no-buffer', `telnet://${address}:${PORT}`];
  expect(await run(lab.client, curl, { input: REQUEST })).toMatchObject({ status: 7 });
  expect(await run(lab.client, [...under, ...curl], { input: REQUEST, timeout: 40_000 })).toMatchObject({
    status: 0,
    stdout: REQUEST,
  });
  await stop(server);
});

test('takes nothing with it that is of no use to its users', () => {
  const files = inside(lab.server, ['find', join(knockify, '../../knockify'), '-type', 'f']);
  expect(files).not.toMatch(/\/(ts|test|\.ci|examples)\//);
});

test('a clone that is linked has the command, too', () => {
  const prefix = join(lab.directory, 'linked');
  mkdirSync(prefix);
  execFileSync('npm', ['link'], {
    cwd: REPOSITORY,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, npm_config_prefix: prefix },
    stdio: 'pipe',
  });
  const version = execFileSync(join(prefix, 'bin/knockify'), ['--version'], { encoding: 'utf8' });
  expect(version).toMatch(/^\d+\.\d+\.\d+\n$/);
});
