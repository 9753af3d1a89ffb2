import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SecretFolder } from '../../ts/cli/namedSecret.ts';
import { sayTo, startAcceptor } from './acceptor.ts';
import { type Control, KNOCKIFY, startControl, statusOf } from './control.ts';
import { type Lab, openLab } from './netns.ts';
import { type Program, start, stop, until, untilSays } from './program.ts';

/** Two control processes in one network namespace: what they share, and what only one of them does. */

const PORT = 8950;
const REQUEST = 'a few words';

let lab: Lab;
let client: Control;
let first: Control;
let second: Control;
let server: Program;
let folder: string;

beforeAll(async () => {
  lab = openLab();
  client = await startControl(lab, lab.client);
  const make = (name: string, secret: string) => {
    const path = join(lab.directory, name);
    mkdirSync(path, { mode: 0o700 });
    new SecretFolder(path).add(secret);
    return path;
  };
  folder = make('usual', 'alice');
  first = await startControl(lab, lab.server, { arguments: ['--secrets', folder] });
  second = await startControl(lab, lab.server, { arguments: ['--secrets', make('other', 'mallory')] });
  server = await startAcceptor(lab.server, lab.server.addresses.ipv4, PORT, {
    knock: { control: first.socket },
  });
});
afterAll(() => lab?.close());

async function knock(secret: string): Promise<boolean> {
  const { status, stdout } = await sayTo(lab, PORT, REQUEST, {
    control: client.socket,
    secret: `f:${lab.directory}/${secret}.secret`,
  });
  return status === 0 && stdout === REQUEST;
}

const status = (control: Control) => statusOf(lab.server, control);

const events = ({ socket }: Control) =>
  start(lab.server, [process.execPath, KNOCKIFY, 'events', '--json'], { env: { KNOCK_CONTROL: socket } });

test('both know the listeners and what came to them', async () => {
  expect(await knock('usual/alice')).toBe(true);
  for (const control of [first, second])
    expect((await status(control)).listeners).toMatchObject([
      { port: PORT, pid: server.pid, syns: { authorised: 1, rejected: 0 } },
    ]);
});

test("the first one's named secrets are accepted, and the other says why its own are not", async () => {
  await untilSays(second.program, `${lab.directory}/other is not accepted: another control process`);
  second.program.child.kill('SIGHUP');
  await status(second);
  expect(await knock('usual/alice')).toBe(true);
  expect(await knock('other/mallory')).toBe(false);
  expect((await status(second)).errors).toMatchObject([{ text: expect.stringContaining('--no-secrets') }]);
  expect((await status(first)).errors).toEqual([]);
});

test('one of them at a time tells what guards say', async () => {
  const follower = events(first);
  for (let told = 0; told === 0; told = (await status(first)).events.followers);
  const refused = await events(second).ended;
  expect(refused).toMatchObject({ status: 1, stdout: '' });
  expect(refused.stderr).toContain('another control process of this network namespace tells what guards say');
  expect(await knock('usual/alice')).toBe(true);
  await until('the event', () => follower.stdout().includes('"authorised"'));
  await stop(follower, 'SIGINT');
  for (let told = 1; told > 0; told = (await status(first)).events.followers);
  const next = events(second);
  for (let told = 0; told === 0; told = (await status(second)).events.followers)
    expect(next.isRunning()).toBe(true);
  expect(await knock('usual/alice')).toBe(true);
  await until('the event', () => next.stdout().includes('"authorised"'));
  await stop(next, 'SIGINT');
});

test.each(['SIGKILL', 'SIGTERM'] as const)(
  'one that ends by %s leaves all of it to the other at once',
  async (signal) => {
    if (signal === 'SIGTERM') {
      // Back to what was.
      await second.stop();
      first = await startControl(lab, lab.server, { arguments: ['--secrets', folder] });
      second = await startControl(lab, lab.server, {
        arguments: ['--secrets', join(lab.directory, 'other')],
      });
      expect(await knock('other/mallory')).toBe(false);
    }
    const follower = events(first);
    for (let told = 0; told === 0; told = (await status(first)).events.followers);
    await stop(first.program, signal);
    await stop(follower);
    second.program.child.kill('SIGHUP');
    await untilSays(second.program, 'secret mallory: accepted from now on');
    expect([await knock('other/mallory'), await knock('usual/alice')]).toEqual([true, false]);
    const next = events(second);
    for (let told = 0; told === 0; told = (await status(second)).events.followers)
      expect(next.isRunning()).toBe(true);
    await stop(next, 'SIGINT');
  },
);
