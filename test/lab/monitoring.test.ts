import { mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FollowedEvent, ListenerStatus, VerdictEvent } from '../../ts/spec/status.ts';
import { sayTo, startAcceptor } from './acceptor.ts';
import { type Control, KNOCKIFY, startControl, statusOf } from './control.ts';
import { inside, type Lab, openLab } from './netns.ts';
import { type Probe, sendAll, sendProbes, startFlood } from './probes.ts';
import { type Knock, type Program, PYTHON, run, start, stop, until } from './program.ts';
import { SECRET } from './stealthlab.ts';

/** What `knockify status` and `knockify events` say of right and wrong SYNs, of floods and restarts, and to whom. */

const PORT = 8700;
const OTHER_PORT = 8701;
const OTHER_USER = 4711;
const REQUEST = 'what the client says';

let lab: Lab;
let client: Control;
let control: Control;
let server: Program;

const knock = (): Knock => ({ control: control.socket, secret: SECRET });

beforeAll(async () => {
  lab = openLab();
  inside(lab.server, ['chmod', '755', lab.directory]);
  client = await startControl(lab, lab.client);
  control = await startControl(lab, lab.server, { arguments: ['--mode', '0666'] });
  server = await startAcceptor(lab.server, '0.0.0.0', PORT, { knock: knock() });
});
afterAll(() => lab?.close());

const as = (uid: number) => ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
const knockify = (...words: string[]) => [process.execPath, KNOCKIFY, ...words, '--socket', control.socket];

const status = (uid = 0) => statusOf(lab.server, control, as(uid));

async function listener(port = PORT): Promise<ListenerStatus> {
  const found = (await status()).listeners.find((one) => one.port === port);
  if (found === undefined) throw new Error(`no listener on port ${port}`);
  return found;
}

async function connect(port = PORT, secret = SECRET): Promise<string> {
  return (await sayTo(lab, port, REQUEST, { control: client.socket, secret })).stdout;
}

const wrong = (index: number, port = PORT): Probe => ({
  family: 'ipv4',
  sourcePort: 20_000 + index,
  destinationPort: port,
  flags: 'S',
  sequence: 1_000_000 + index,
});

interface Follower {
  readonly program: Program;
  events(): FollowedEvent[];
  verdicts(): VerdictEvent[];
  suppressed(): number;
  stop(): Promise<void>;
}

function eventsOf(program: Program): FollowedEvent[] {
  const lines = program.stdout().split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as FollowedEvent);
}

/** Follows, and is known to the control process when it returns. */
async function follow(uid = 0): Promise<Follower> {
  const before = (await status()).events.followers;
  const program = start(lab.server, [...as(uid), ...knockify('events', '--json')]);
  for (;;) {
    if ((await status()).events.followers > before) break;
    if (!program.isRunning()) throw new Error(`it does not follow: ${program.stderr()}`);
  }
  const events = () => eventsOf(program);
  const verdicts = () => events().filter((event) => 'verdict' in event);
  const suppressed = () =>
    events().reduce((sum, event) => sum + ('suppressed' in event ? event.suppressed : 0), 0);
  const end = async () => {
    expect(await stop(program, 'SIGINT')).toMatchObject({ status: 0, stderr: '' });
  };
  return { program, events, verdicts, suppressed, stop: end };
}

test('SYNs are counted exactly, and nothing else is', async () => {
  const before = await listener();
  for (let turn = 0; turn < 3; turn++) expect(await connect()).toBe(REQUEST);
  expect(await connect(PORT, 'a wrong secret')).toBe('');
  const others: Probe[] = ['F', '', 'FPU', 'A', 'R', 'SF'].map((flags, i) => ({ ...wrong(i), flags }));
  await sendProbes(lab, [...Array.from({ length: 20 }, (_, i) => wrong(i)), ...others]);
  const after = await listener();
  expect(after.syns).toEqual({
    authorised: (before.syns?.authorised ?? 0) + 3,
    rejected: (before.syns?.rejected ?? 0) + 21,
  });
  expect(Date.parse(after.last?.time ?? '')).toBeGreaterThanOrEqual(Date.parse(after.since));
});

test('status says who guards what since when', async () => {
  const { control: process_, listeners } = await status();
  expect(process_).toMatchObject({ pid: control.program.pid, version: '0.1.0', engine: 'stock' });
  const [found] = listeners;
  expect(found).toMatchObject({
    ...{ address: '0.0.0.0', port: PORT, interface: null, pid: server.pid, uid: 0, user: 'root' },
    ...{ program: 'python3', mode: 'auth', protectedLength: 0, replay: 'reject' },
  });
  expect(Date.parse(found?.since ?? '')).toBeGreaterThanOrEqual(Date.parse(process_.since));
  const shown = await run(lab.server, knockify('status'));
  expect(shown.stdout).toMatch(
    new RegExp(`^0\\.0\\.0\\.0:${PORT} +python3\\[${server.pid}\\] +root +auth`, 'm'),
  );
  for (const line of shown.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});

test('a listener in integrity mode, on IPv6, and gone when its program is', async () => {
  const address = lab.server.addresses.ipv6;
  const program = await startAcceptor(lab.server, address, OTHER_PORT, { knock: { ...knock(), intlen: 12 } });
  expect(await listener(OTHER_PORT)).toMatchObject({ address, mode: 'integrity', protectedLength: 12 });
  await stop(program, 'SIGKILL');
  expect((await status()).listeners.map(({ port }) => port)).toEqual([PORT]);
});

test('events are followed one by one', async () => {
  const follower = await follow();
  expect(await connect()).toBe(REQUEST);
  await sendProbes(lab, [wrong(1), wrong(2)]);
  await until('three events', () => follower.verdicts().length >= 3);
  await follower.stop();
  const [right, ...others] = follower.verdicts();
  const common = {
    ...{ source: lab.client.addresses.ipv4, destination: lab.server.addresses.ipv4, destinationPort: PORT },
    ...{ program: 'python3', pid: server.pid, uid: 0, secret: null },
  };
  expect(right).toMatchObject({ ...common, verdict: 'authorised' });
  expect(others).toMatchObject([
    { ...common, verdict: 'rejected', sourcePort: 20_001 },
    { ...common, verdict: 'rejected', sourcePort: 20_002 },
  ]);
  expect(follower.suppressed()).toBe(0);
  expect((await status()).events.followers).toBe(0);
});

test('of a flood some are told and the others counted', async () => {
  const follower = await follow();
  const before = await listener();
  const flood = await startFlood(lab, [
    ...Array.from({ length: 200 }, (_, i) => ({ ...wrong(i), source: '198.51.100.7' })),
  ]);
  await until('suppression', () => follower.suppressed() > 1000, 20_000);
  await stop(flood, 'SIGKILL');
  const after = await listener();
  const sent = (after.syns?.rejected ?? 0) - (before.syns?.rejected ?? 0);
  const told = () => follower.verdicts().length + follower.suppressed();
  await until(`${sent} told of`, () => told() >= sent);
  await follower.stop();
  expect(told()).toBe(sent);
  // One at a time where none wait: a quiet second's worth at once, and a hundred a second.
  const [first, last] = [follower.events()[0], follower.events().at(-1)];
  const took = Date.parse(last?.time ?? '') - Date.parse(first?.time ?? '');
  expect(follower.verdicts().length).toBeLessThanOrEqual(102 + took / 10);
  expect((await status()).events.suppressed).toBeGreaterThanOrEqual(follower.suppressed());
});

test('nothing is on record while nobody follows', async () => {
  await sendProbes(lab, [wrong(1), wrong(2)]);
  const follower = await follow();
  await sendProbes(lab, [wrong(3)]);
  await until('an event', () => follower.verdicts().length > 0);
  await follower.stop();
  expect(follower.verdicts().map(({ sourcePort }) => sourcePort)).toEqual([20_003]);
});

describe('another user', () => {
  let program: Program;
  beforeAll(async () => {
    const options = { knock: knock(), before: as(OTHER_USER) };
    program = await startAcceptor(lab.server, '0.0.0.0', OTHER_PORT, options);
  });
  afterAll(async () => {
    await stop(program);
  });

  test('sees listeners of their own alone', async () => {
    const ports = async (uid: number) => (await status(uid)).listeners.map(({ port }) => port);
    expect(await ports(0)).toEqual([PORT, OTHER_PORT]);
    expect(await ports(OTHER_USER)).toEqual([OTHER_PORT]);
    expect(await ports(OTHER_USER + 1)).toEqual([]);
  });

  test('sees events of their own alone, and errors', async () => {
    const [own, all] = [await follow(OTHER_USER), await follow()];
    await sendProbes(lab, [wrong(1), wrong(2, OTHER_PORT), wrong(3)]);
    await until('all events', () => all.verdicts().length >= 3);
    await until('an event', () => own.verdicts().length >= 1);
    await own.stop();
    await all.stop();
    expect(own.verdicts().map(({ destinationPort }) => destinationPort)).toEqual([OTHER_PORT]);
    const listen = 'import socket; socket.create_server(("127.0.0.1", 8702))';
    const bad = { ...knock(), secret: 'h:not hex' };
    expect(await run(lab.server, [...as(OTHER_USER), PYTHON, '-c', listen], { knock: bad })).toMatchObject({
      status: 1,
    });
    const errors = async (uid: number) => (await status(uid)).errors.map(({ text }) => text);
    expect((await errors(OTHER_USER)).join()).toContain('KNOCK_SECRET');
    expect(await errors(OTHER_USER + 1)).toEqual([]);
  });
});

test('listeners, counts and followers outlive the control process', async () => {
  const follower = await follow();
  const before = await listener();
  control.program.child.kill('SIGKILL');
  await control.program.ended;
  // Without a capture, which takes its time: the guards go on to record for some seconds only.
  await sendAll(lab, [wrong(1)]);
  control = await startControl(lab, lab.server, { socket: control.socket, arguments: ['--mode', '0666'] });
  const after = await listener();
  const { last } = after;
  expect(after).toEqual({
    ...before,
    last,
    syns: { ...before.syns, rejected: (before.syns?.rejected ?? 0) + 1 },
  });
  // The kernel's record is of a clock that is not the calendar's: the two are compared anew each time.
  const passed = Date.parse(last?.time ?? '') - Date.parse(before.last?.time ?? '');
  expect(Math.abs(passed)).toBeLessThan(1_000);
  expect(last?.secret).toEqual(before.last?.secret);
  await sendProbes(lab, [wrong(2)]);
  await until('both events', () => follower.verdicts().length >= 2);
  await follower.stop();
  expect(follower.verdicts().map(({ sourcePort }) => sourcePort)).toEqual([20_001, 20_002]);
});

test('who asks where nobody answers is told so', async () => {
  for (const command of ['status', 'events']) {
    const nowhere = [process.execPath, KNOCKIFY, command, '--socket', `${lab.directory}/nowhere`];
    expect(await run(lab.server, nowhere)).toEqual({
      status: 1,
      signal: undefined,
      stdout: '',
      stderr: `knockify ${command}: no control process at ${lab.directory}/nowhere; start one with 'knockify control'\n`,
    });
  }
});

test('who has a secret with a name is told of by that name', async () => {
  const folder = `${lab.directory}/secrets.d`;
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(`${folder}/alice.secret`, 'the secret of alice alone', { mode: 0o600 });
  const named = await startControl(lab, lab.server, { arguments: ['--secrets', folder] });
  const port = 8703;
  const program = await startAcceptor(lab.server, '0.0.0.0', port, { knock: { control: named.socket } });
  const command = (...words: string[]) => [process.execPath, KNOCKIFY, ...words, '--socket', named.socket];
  const look = async () => (await statusOf(lab.server, named)).events.followers;
  const events = start(lab.server, command('events'));
  while ((await look()) === 0) expect(events.isRunning()).toBe(true);
  expect(await connect(port, 'the secret of alice alone')).toBe(REQUEST);
  await until('the event', () => events.stdout().includes('\n'));
  await stop(events, 'SIGINT');
  expect(events.stdout()).toMatch(
    / authorised 192\.0\.2\.1:\d+ -> 192\.0\.2\.2:8703 python3\[\d+\] by alice\n$/,
  );
  const shown = await run(lab.server, command('status'));
  expect(shown.stdout).toMatch(/^0\.0\.0\.0:8703 .* 1 +0 +\d+ s alice$/m);
  expect(shown.stdout).not.toContain('the secret of alice');
  await stop(program);
  await named.stop();
});
