import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Family } from './netns.ts';
import { scan } from './nmap.ts';
import {
  type Knock,
  knockEnvironment,
  type Outcome,
  type Program,
  PYTHON,
  REPOSITORY,
  run,
  start,
  stop,
  until,
  untilListening,
  untilSays,
} from './program.ts';
import { MODES, openStealthLab, PROTECTED_LENGTH, type StealthLab } from './stealthlab.ts';

/** A listener that an activator made without the library, which the service is under. */

const ACTIVATOR = fileURLToPath(new URL('activator.py', import.meta.url));
const SERVICE = fileURLToPath(new URL('activated.py', import.meta.url));
const STEPS = `${REPOSITORY}/test/programs/steps.py`;
const PAYLOAD = Buffer.alloc(PROTECTED_LENGTH + 6, 'x').toString('hex');
const SERVED = [
  ['connect', 'ok'],
  ['send', 'ok'],
  ['recv', 'ok'],
];
const ESTABLISHED = '01';

let stealth: StealthLab;
let port = 8700;
let activators: Program[] = [];
beforeAll(async () => {
  stealth = await openStealthLab();
});
afterAll(async () => {
  for (const activator of activators) await stop(activator, 'SIGKILL');
  activators = [];
  stealth?.close();
});

interface Activation {
  readonly how: string;
  readonly declared?: boolean;
  readonly group?: boolean;
  readonly count?: number;
  readonly family?: Family;
  /** Of the service; absent: only the library is preloaded. */
  readonly knock?: Knock | undefined;
}

/** Starts an activator on a port of its own and waits for its listener. */
async function activator({ how, declared, group, count = 2, family = 'ipv4', knock }: Activation) {
  port++;
  const environment = knock ? knockEnvironment(knock) : { LD_PRELOAD: libraryOf() };
  const assignments = Object.entries(environment).map(([key, value]) => `${key}=${value}`);
  const options = [declared ? 'declared' : '', group ? 'group' : ''].join(',');
  const service = ['env', ...assignments, PYTHON, SERVICE, how, String(count)];
  const address = family === 'ipv4' ? '0.0.0.0' : '::';
  const program = start(stealth.server, [PYTHON, ACTIVATOR, address, String(port), options, ...service]);
  activators.push(program);
  await untilListening(program, port);
  await untilSays(program, 'listens');
  return { program, port };
}

function libraryOf(): string {
  return knockEnvironment(stealth.knock(stealth.server)).LD_PRELOAD ?? '';
}

/** Starts the service; `text` is what it says when it is ready. */
async function activate(program: Program, text = 'serves'): Promise<void> {
  const before = program.stdout().split(text).length;
  program.child.kill('SIGUSR1');
  await until(`"${text}" of the service`, () => program.stdout().split(text).length > before);
}

async function untilEnded(program: Program, times: number): Promise<void> {
  const ended = () => program.stdout().match(/^ended (\d+)$/gm)?.length ?? 0;
  await until('the end of the service', () => ended() >= times);
  expect(program.stdout()).not.toMatch(/^ended [^0]/m);
}

async function stateOf(of: number): Promise<string> {
  const [verdict] = await scan(stealth.client, '-sS', stealth.server.addresses.ipv4, [of]);
  return `${verdict?.state}, ${verdict?.reason}`;
}

const OPEN = 'open, syn-ack';
const CLOSED = 'closed, reset';

function stepsOf({ stdout }: Outcome): unknown {
  return JSON.parse(stdout).steps;
}

async function connectTo(to: number, knock?: Knock): Promise<unknown> {
  const { ipv4 } = stealth.server.addresses;
  return stepsOf(await run(stealth.client, [PYTHON, STEPS, 'connect', ipv4, String(to), PAYLOAD], { knock }));
}

/** A client without the secret that has sent and waits to be accepted. */
async function queue(program: Program, to: number): Promise<Program> {
  const { ipv4 } = stealth.server.addresses;
  const client = start(stealth.client, [PYTHON, STEPS, 'connect', ipv4, String(to), PAYLOAD]);
  const local = `:${to.toString(16).toUpperCase().padStart(4, '0')}`;
  await until('a connection in the queue', () =>
    ['tcp', 'tcp6'].some((table) =>
      readFileSync(`/proc/${program.pid}/net/${table}`, 'latin1')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .some(
          ([, address, , state, queues]) =>
            address?.endsWith(local) && state === ESTABLISHED && !queues?.endsWith(':00000000'),
        ),
    ),
  );
  return client;
}

const REFUSED = [['connect', 'ECONNREFUSED']];

/** Without LISTEN_PID the guard is there when the service first waits, which is a moment after it says so. */
async function untilRefused(to: number): Promise<void> {
  for (let tries = 0; tries < 20; tries++)
    if (JSON.stringify(await connectTo(to)) === JSON.stringify(REFUSED)) return;
  expect(await connectTo(to)).toEqual(REFUSED);
}

const WAYS = [
  { how: 'accept', declared: true },
  { how: 'asyncio', declared: true, family: 'ipv6' },
  { how: 'listen', declared: true },
  { how: 'accept', declared: true, group: true },
  { how: 'accept' },
  { how: 'poll' },
  { how: 'select' },
  { how: 'epoll' },
  { how: 'asyncio' },
  { how: 'listen' },
] as const;
/** With integrity the guard is another, and what leads to it the same. */
const FEWER = WAYS.filter(({ how }) => how === 'accept' || how === 'epoll');

describe.each(MODES)('%s', (mode) => {
  const ours = () => stealth.knock(stealth.client, mode);
  const served = async (to: number, times: number) => {
    for (let i = 0; i < times; i++) expect(await connectTo(to, ours())).toEqual(SERVED);
  };

  test('answers as a closed port, from one service to the next', async () => {
    const knock = stealth.knock(stealth.server, mode);
    const { program, port } = await activator({ how: 'accept', count: 1, declared: true, knock });
    expect(await stateOf(port)).toBe(OPEN);
    for (const times of [1, 2]) {
      await activate(program);
      expect(await stateOf(port)).toBe(CLOSED);
      await served(port, 1);
      await untilEnded(program, times);
      // The guard is the socket's, which the activator keeps.
      expect(await stateOf(port)).toBe(CLOSED);
    }
  });

  test.each(mode === 'auth' ? WAYS : FEWER)(
    '$how, declared: $declared, group: $group',
    async (activation) => {
      const knock = stealth.knock(stealth.server, mode);
      const { program, port } = await activator({ ...activation, knock });
      const unauthorised = await queue(program, port);
      await activate(program);
      await untilRefused(port);
      // It was let in before there was a guard; the service never sees it.
      expect(stepsOf(await unauthorised.ended)).toEqual([
        ['connect', 'ok'],
        ['send', 'ok'],
        ['recv', 'ECONNRESET'],
      ]);
      await served(port, 2);
      await untilEnded(program, 1);
      await activate(program);
      expect(await connectTo(port)).toEqual(REFUSED);
      await served(port, 2);
      await untilEnded(program, 2);
      if (activation.how !== 'asyncio')
        expect(program.stdout()).toContain(`backlog ${activation.how === 'listen' ? 11 : 37}`);
      expect(program.stderr()).toBe('');
    },
  );

  test('left alone outside KNOCK_TARGETS', async () => {
    const knock = { ...stealth.knock(stealth.server, mode), targets: ':22' };
    const { program, port } = await activator({ how: 'epoll', declared: true, knock });
    const early = await queue(program, port);
    await activate(program);
    expect(stepsOf(await early.ended)).toEqual(SERVED);
    expect(await connectTo(port)).toEqual(SERVED);
    await untilEnded(program, 1);
    expect(program.stderr()).toBe('');
  });
});

describe('without a control process', () => {
  const LOST = /^knockify: accept on a listener that came with the program: no control process at [^\n]+\n$/;
  const nobody = () => ({
    ...stealth.knock(stealth.server),
    control: `${stealth.lab.directory}/nobody.sock`,
  });

  test.each([{ how: 'accept', declared: true }, { how: 'accept' }] as const)(
    'accept() fails, and one line says why; declared: $declared',
    async (activation) => {
      const { program, port } = await activator({ ...activation, knock: nobody() });
      await activate(program);
      await untilEnded(program, 1);
      expect(program.stdout()).toContain('accept EPROTONOSUPPORT');
      expect(program.stderr()).toMatch(LOST);
      // Nothing was done to the listener: the next service may have better luck.
      expect(await stateOf(port)).toBe(OPEN);
    },
  );

  test('it is said at the start where the activator declares it', async () => {
    const { program } = await activator({ how: 'not', declared: true, knock: nobody() });
    await activate(program);
    expect(program.stderr()).toMatch(LOST);
  });
});

describe('nobody is asked', () => {
  test('about a listener that the program leaves alone', async () => {
    const knock = { ...stealth.knock(stealth.server), control: `${stealth.lab.directory}/nobody.sock` };
    const { program, port } = await activator({ how: 'not', knock });
    await activate(program);
    await untilEnded(program, 1);
    expect(program.stderr()).toBe('');
    expect(await stateOf(port)).toBe(OPEN);
  });

  test('at the start of a program without any setting; accept() is refused all the same', async () => {
    const idle = await activator({ how: 'not', declared: true });
    await activate(idle.program);
    await untilEnded(idle.program, 1);
    expect(idle.program.stderr()).toBe('');
    const { program } = await activator({ how: 'accept', declared: true });
    await activate(program);
    await untilEnded(program, 1);
    expect(program.stdout()).toContain('accept EPROTONOSUPPORT');
    expect(program.stderr()).toMatch(/^knockify: accept on a listener[^\n]+\n$/);
  });
});
