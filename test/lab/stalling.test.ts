import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LIMITS } from '../../ts/control/admission.ts';
import { encode } from '../../ts/spec/codec.ts';
import { MOST_DESCRIPTORS } from '../../ts/sys/channel.ts';
import { isKilled } from '../../ts/sys/process.ts';
import { sockaddrOf } from '../control/sockaddrs.ts';
import { capturing } from './capture.ts';
import { type Control, startControl } from './control.ts';
import { afflict } from './doom.ts';
import { PAGE, startLighttpd, urlOf } from './lighttpd.ts';
import { inside, type Lab, openLab } from './netns.ts';
import { syns } from './packets.ts';
import { type Outcome, type Program, PYTHON, run, start, stop, until, untilSays } from './program.ts';
import { SECRET } from './stealthlab.ts';

/** Clients that would have the control process wait for them, so that it answers nobody else. */

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const RACING = here('racing.py');
const HANGING = here('hanging.py');
const LOCKING = here('locking.py');
const HOARDING = here('hoarding.py');
const PORT = 8795;
const SERVED = 8796;
/** Whom the files of the hung file system belong to. */
const NOBODY = 65534;
/** ReadingLimits.perUser. */
const AT_A_TIME = 4;
const SOME = 20;

let lab: Lab;
/** The hung file system. */
let hungfs: string;
beforeAll(async () => {
  lab = openLab();
  // For other users than root.
  inside(lab.client, ['chmod', '755', lab.directory]);
  hungfs = join(lab.directory, 'hungfs');
  execFileSync('gcc', ['-std=gnu11', '-Wall', '-Wextra', '-Werror', here('hungfs.c'), '-o', hungfs]);
  const { socket } = await startControl(lab, lab.server);
  await startLighttpd(lab, { family: 'ipv4', port: SERVED, knock: { control: socket, secret: SECRET } });
});
afterAll(() => lab?.close());

function connectMessage(settings: string, rc = ''): string {
  const peer = new Uint8Array(28);
  const sockaddr = sockaddrOf(lab.server.addresses.ipv4, PORT);
  peer.set(sockaddr);
  const message = encode({
    kind: 'connect',
    settings: Buffer.from(settings),
    rc_path: Buffer.from(rc),
    rc_error: 0,
    peer,
    peer_size: sockaddr.length,
  });
  return `${Buffer.from(message).toString('hex')}\n`;
}

test('a connect that is not delayed after all keeps nobody waiting, and no SYN leaves', {
  timeout: 120_000,
}, async () => {
  const control = await startControl(lab, lab.client);
  // Time enough to clear the option between its being set and the connect(). Both connects of a hand are waited for 250 ms.
  const slow = await afflict(control, 'connect', 'delay_enter=100000');
  const input = connectMessage('KNOCK_SECRET=fine\0');
  const { result, packets } = await capturing(lab, () =>
    run(lab.client, [PYTHON, RACING, control.socket], { input, timeout: 90_000 }),
  );
  await slow.end();
  expect(result).toMatchObject({ status: 0, stderr: '', stdout: 'not delayed\nnot delayed\n' });
  expect(syns(packets)).toEqual([]);
});

interface Held {
  readonly descriptors: number;
  readonly threads: number;
}

function heldBy({ program: { pid } }: Control): Held {
  const count = (what: string) => readdirSync(`/proc/${pid}/${what}`).length;
  return { descriptors: count('fd'), threads: count('task') };
}

/** At most so many threads wait for work: a hand, and one that closes. */
const IDLE = 2;

function moreThreads(control: Control, before: Held): number {
  return heldBy(control).threads - before.threads;
}

/** How many threads of the control process wait for a lock. */
function handsBehind({ program: { pid } }: Control): number {
  const read = (task: string, what: string) => readFileSync(`/proc/${pid}/task/${task}/${what}`, 'utf8');
  return readdirSync(`/proc/${pid}/task`).filter(
    (task) => read(task, 'comm') === 'knockify-hand\n' && read(task, 'stat').includes(') D '),
  ).length;
}

async function isAsBefore(control: Control, before: Held): Promise<void> {
  await until('all to be let go', () => {
    return heldBy(control).descriptors <= before.descriptors && moreThreads(control, before) <= IDLE;
  });
}

/** By an rc file, which is read each time. */
async function fetchPage(control: Control): Promise<Outcome> {
  const rc = join(lab.directory, 'fine.rc');
  writeFileSync(rc, `KNOCK_SECRET=${SECRET}\n`, { mode: 0o600 });
  return run(
    lab.client,
    ['curl', '-sS', '-m', '8', urlOf(lab.server, 'ipv4', SERVED)],
    // Less time than anything here hangs.
    { knock: { control: control.socket }, env: { KNOCK_RC: rc, KNOCK_TIMEOUT: '2' } },
  );
}

async function isServed(control: Control): Promise<void> {
  expect(await fetchPage(control)).toMatchObject({ status: 0, stdout: PAGE, stderr: '' });
}

function startHanging(kind: string, user: number, control: Control): Program {
  const directory = join(lab.directory, kind);
  mkdirSync(directory);
  const command = [hungfs, directory, PYTHON, HANGING, control.socket, directory, kind, String(user)];
  return start(lab.client, command, { input: connectMessage('', `/somewhere/${kind}`) });
}

test('files that hang keep nobody waiting but who brought them', { timeout: 120_000 }, async () => {
  const control = await startControl(lab, lab.client, { arguments: ['--mode', '0666'] });
  await isServed(control);
  const before = heldBy(control);
  const users = { stat: NOBODY - 1, read: NOBODY - 2, direct: NOBODY - 3, flush: NOBODY };
  const hanging = Object.entries(users).map(([kind, user]) => startHanging(kind, user, control));
  try {
    await Promise.all(hanging.map((one) => untilSays(one, 'asked')));
    await isServed(control);
    await Promise.all(hanging.map((one) => untilSays(one, 'answered', 25_000)));
    // In which order they are heard is up to when their connections are seen.
    const all = hanging.map((one) => one.stdout().trim().split('\n').slice(1, -1).sort());
    const [late, proceed] = ['late', 'action 1'].map((text) => Array(6).fill(text));
    // Their contents come in time, but others wait until they are closed.
    const mixed = [...(proceed ?? []).slice(0, AT_A_TIME), ...(late ?? []).slice(AT_A_TIME)];
    expect(all).toEqual([late, late, late, mixed]);
    // Of those that hang when they are closed, two were not read.
    const more = moreThreads(control, before) - hanging.length * AT_A_TIME - 2;
    expect(Math.abs(more)).toBeLessThanOrEqual(IDLE);
    await isServed(control);
  } finally {
    await Promise.all(hanging.map((one) => stop(one)));
  }
  await isAsBefore(control, before);
  await isServed(control);
});

const messages = () =>
  [
    connectMessage('KNOCK_SECRET=fine\0'),
    `${Buffer.from(encode({ kind: 'listen', settings: Buffer.from('KNOCK_SECRET=fine\0KNOCK_INTLEN=4\0'), rc_path: Buffer.of(), rc_error: 0 })).toString('hex')}\n`,
    `${Buffer.from(encode({ kind: 'accepted' })).toString('hex')}\n`,
  ].join('');

let lockings = 0;

function startLocking(kind: string, user: number, control: Control): Program {
  const directory = join(lab.directory, `lock${lockings++}`);
  mkdirSync(directory);
  const command = [
    hungfs,
    directory,
    PYTHON,
    LOCKING,
    control.socket,
    join(directory, kind === 'briefly' ? 'slow' : 'read'),
    String(user),
    kind,
  ];
  return start(lab.client, command, { input: messages() });
}

function linesOf(program: Program): string[] {
  return program.stdout().trim().split('\n').slice(0, -1);
}

/** Another user, with the same settings. */
async function isAnswered(user: number, control: Control): Promise<void> {
  const other = startLocking('free', user, control);
  await untilSays(other, 'let go');
  expect(linesOf(other)).toEqual(['action 1', 'answered']);
  await stop(other);
}

test.each(['connect', 'prompt', 'listen', 'accepted', 'listener'])(
  'sockets whose locks are held keep nobody waiting but who holds them: %s',
  { timeout: 120_000 },
  async (kind) => {
    const control = await startControl(lab, lab.client, { arguments: ['--mode', '0666'] });
    await isServed(control);
    await isAnswered(NOBODY - 1, control);
    const before = heldBy(control);
    const locking = startLocking(kind, NOBODY, control);
    try {
      await untilSays(locking, 'answered', 25_000);
      const held = Array(AT_A_TIME).fill('holds the lock');
      expect(linesOf(locking)).toEqual([...held, 'too many sockets', 'too many sockets']);
      expect(handsBehind(control)).toBe(AT_A_TIME);
      await isServed(control);
      await isAnswered(NOBODY - 1, control);
      expect(locking.isRunning()).toBe(true);
    } finally {
      await stop(locking);
    }
    await isAsBefore(control, before);
    await isServed(control);
  },
);

test('a connect whose socket is locked midway is taken back when it is let go of, and no SYN leaves', {
  timeout: 120_000,
}, async () => {
  const control = await startControl(lab, lab.client, { arguments: ['--mode', '0666'] });
  await isServed(control);
  const before = heldBy(control);
  const slow = await afflict(control, 'connect', 'delay_enter=100000');
  const locking = startLocking('midway', NOBODY, control);
  try {
    const { packets } = await capturing(lab, async () => {
      await untilSays(locking, 'answered', 25_000);
      expect(linesOf(locking)).toEqual(['holds the lock']);
      await slow.relieve();
      await isServed(control);
      process.kill(locking.pid, 'SIGUSR1');
      await untilSays(locking, 'let go');
    });
    expect(linesOf(locking)).toEqual(['holds the lock', 'answered', 'action 1']);
    expect(syns(packets).filter(({ destinationPort }) => destinationPort === PORT)).toEqual([]);
  } finally {
    await stop(locking);
  }
  await isAsBefore(control, before);
});

test('sockets whose locks are held for some milliseconds only, but again and again, are refused in the end', {
  timeout: 120_000,
}, async () => {
  const control = await startControl(lab, lab.client, { arguments: ['--mode', '0666'] });
  await isServed(control);
  const locking = startLocking('briefly', NOBODY, control);
  try {
    await untilSays(locking, 'answered', 60_000);
    expect(linesOf(locking)).toEqual(['too long of late']);
    await isServed(control);
    await isAnswered(NOBODY - 1, control);
  } finally {
    await stop(locking);
  }
});

test('who hands over sockets that can not be closed yet is turned away, before there are no descriptors left for others', {
  timeout: 240_000,
}, async () => {
  const control = await startControl(lab, lab.client, { arguments: ['--mode', '0666'] });
  await isServed(control);
  await isAnswered(NOBODY - 1, control);
  const before = heldBy(control);
  const hoarding = start(lab.client, [PYTHON, HOARDING, control.socket, String(NOBODY)], {
    input: connectMessage('KNOCK_SECRET=fine\0'),
  });
  try {
    await untilSays(hoarding, 'done', 150_000);
    const { refused, silent, away, ours } = JSON.parse(linesOf(hoarding)[0] ?? '');
    // Who comes before the last one's socket is to be closed finds room.
    expect(Math.abs(refused - ours - LIMITS.perUser)).toBeLessThan(SOME);
    expect(Math.abs(silent - LIMITS.perUser)).toBeLessThan(SOME);
    expect(away).toBeGreaterThan(100);
    // Those that are not closed, and those who wait, with a socket each.
    expect(heldBy(control).descriptors - before.descriptors).toBeLessThanOrEqual(
      3 * LIMITS.perUser + AT_A_TIME,
    );
    await isServed(control);
    const hoarded = heldBy(control).descriptors;
    hoarding.child.kill('SIGUSR1');
    await untilSays(hoarding, 'flooded', 60_000);
    // Each of the connections, and what came by those that were begun to be read.
    expect(heldBy(control).descriptors - hoarded).toBeLessThan(3 * MOST_DESCRIPTORS);
    await isServed(control);
    await isAnswered(NOBODY - 1, control);
  } finally {
    await stop(hoarding);
  }
  await isAsBefore(control, before);
  await isAnswered(NOBODY, control);
});

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'a control process with hands behind makes room for the next: %s',
  {
    timeout: 120_000,
  },
  async (signal) => {
    const control = await startControl(lab, lab.client, { arguments: ['--mode', '0666'] });
    const locking = startLocking('connect', NOBODY, control);
    try {
      await untilSays(locking, 'answered', 25_000);
      process.kill(control.program.pid, signal);
      await until('it to end', () => isKilled(control.program.pid));
      const next = await startControl(lab, lab.client, { socket: control.socket });
      await isServed(next);
      await next.stop();
    } finally {
      await stop(locking);
    }
    await control.stop();
  },
);
