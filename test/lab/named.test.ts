import { chmodSync, copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseEntry } from '../../ts/config/secretNames.ts';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken } from '../../ts/stealth/token.ts';
import { type Control, KNOCKIFY, startControl } from './control.ts';
import { inside, type Lab, openLab } from './netns.ts';
import { comparable, sendProbes, timestampOption } from './probes.ts';
import {
  type Knock,
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
import { patient } from './slowness.ts';
import { KINDS, type Mode, PROTECTED_LENGTH } from './stealthlab.ts';

/** A server with named secrets, and clients that each have one of them: the server's programs bring none. */

const ACCEPTOR = `${REPOSITORY}/test/programs/acceptor.py`;
const LOAD = `${REPOSITORY}/test/programs/load.py`;
const STEPS = `${REPOSITORY}/test/programs/steps.py`;
const MEMORY = fileURLToPath(new URL('memory.py', import.meta.url));
const NAMES = ['alice', 'bob', 'carol'] as const;
const PAYLOAD = Buffer.from('what every client says first, and a little more');
const SERVED = 'connect ok, send ok, recv ok';
/** With integrity the connect is made by the first send. */
const REFUSED: Readonly<Record<Mode, string>> = {
  auth: 'connect ECONNREFUSED',
  integrity: 'connect ok, send ECONNREFUSED',
};
const STEADY_PORT = 8190;
const LATE_PORT = 8191;
const T = 0x11223344;

let lab: Lab;
let client: Control;
let server: Control;
let folder: string;
let programs: Program[];

const secretOf = (name: string) => `the very own secret of ${name}`;
const fileOf = (name: string) => join(folder, `${name}.secret`);
const put = (name: string, secret = secretOf(name)) => writeFileSync(fileOf(name), secret, { mode: 0o600 });
const bringing = (secret: string, mode: Mode = 'auth'): Knock => ({
  control: client.socket,
  secret,
  intlen: mode === 'integrity' ? PROTECTED_LENGTH : 0,
});
/** Waits for the control process to say something that it has not said before `action`. */
async function hears(text: string, action: () => void): Promise<void> {
  const { length } = server.program.stderr();
  action();
  await until(text, () => server.program.stderr().slice(length).includes(text));
}
const accepts = (name: string, secret?: string) =>
  hears(`secret ${name}: accepted from now on`, () => put(name, secret));
const revokes = (name: string) => hears(`secret ${name}: revoked`, () => rmSync(fileOf(name)));

/** Always at the same place, so that the programs find it. */
async function startServer(): Promise<void> {
  server = await startControl(lab, lab.server, {
    socket: join(lab.directory, 'server.sock'),
    arguments: ['--secrets', folder],
    env: { KNOCK_LOGLVL: '2' },
  });
}

/** `knockify secret` as an administrator calls it. */
function secret(...args: string[]): string {
  return inside(lab.server, [process.execPath, KNOCKIFY, 'secret', ...args, '--secrets', folder]);
}

async function listen(command: readonly string[], port: number, mode: Mode = 'auth'): Promise<Program> {
  const intlen = mode === 'integrity' ? PROTECTED_LENGTH : undefined;
  const program = start(lab.server, command, { knock: { control: server.socket, intlen } });
  programs.push(program);
  await untilListening(program, port);
  return program;
}

/** What became of a connection, step by step. */
async function outcome(address: string, port: number, knock: Knock): Promise<string> {
  const command = [PYTHON, STEPS, 'connect', address, String(port), PAYLOAD.toString('hex')];
  const { stdout } = await run(lab.client, command, { knock });
  const { steps } = JSON.parse(stdout) as { steps: [string, string][] };
  return steps.map((step) => step.join(' ')).join(', ');
}

/** Of a client with that secret, over IPv4 without integrity. */
const outcomeOf = (secret: string, port = STEADY_PORT) =>
  outcome(lab.server.addresses.ipv4, port, bringing(secret));

beforeAll(async () => {
  lab = openLab();
  programs = [];
  folder = join(lab.directory, 'secrets.d');
  mkdirSync(folder, { mode: 0o700 });
  for (const name of NAMES) put(name);
  client = await startControl(lab, lab.client);
  await startServer();
  await listen([PYTHON, LOAD, 'serve', lab.server.addresses.ipv4, String(STEADY_PORT)], STEADY_PORT);
  await Promise.all(
    KINDS.map(({ family, mode, port }) => {
      const address = family === 'mapped' ? '::' : lab.server.addresses[family];
      return listen([PYTHON, '-u', ACCEPTOR, address, String(port)], port, mode);
    }),
  );
});
afterAll(() => lab?.close());

describe.each(KINDS)('$family, $mode', ({ family, mode, port }) => {
  const at = (knock: Knock) => outcome(lab.server.addresses[family], port, knock);

  test('each of three clients is served, and a fourth one refused', async () => {
    for (const name of NAMES) expect(await at(bringing(secretOf(name), mode)), name).toBe(SERVED);
    expect(await at(bringing('a wrong secret', mode))).toBe(REFUSED[mode]);
  });

  test('one that is revoked is refused at once, and the others are served', async () => {
    await revokes('bob');
    expect(await at(bringing(secretOf('bob'), mode))).toBe(REFUSED[mode]);
    for (const name of ['alice', 'carol']) expect(await at(bringing(secretOf(name), mode))).toBe(SERVED);
    await accepts('bob');
    expect(await at(bringing(secretOf('bob'), mode))).toBe(SERVED);
  });

  if (mode === 'integrity')
    test('the log has whose secret it was', async () => {
      const line = 'let a connection in to process';
      const before = server.program.stderr().length;
      expect(await at(bringing(secretOf('carol'), mode))).toBe(SERVED);
      const since = () => server.program.stderr().slice(before);
      await until('the log', () => since().includes(line));
      expect(since()).toMatch(/let a connection in to process \d+ of user 0 by secret carol\n/);
    });
});

describe.each(['ipv4', 'ipv6'] as const)('somebody else over %s', (family) => {
  test('gets the bytes that a closed port sends', async () => {
    const { port } = KINDS.find((kind) => kind.family === family && kind.mode === 'auth') ?? { port: 0 };
    const destination = destinationOf(lab.server.addresses[family], port);
    const token = (text: string) =>
      computeToken({ secret: padSecret(Buffer.from(text)), destination, tsval: T }).isn;
    const probe = (sequence: number, sourcePort: number, destinationPort: number) => ({
      ...{ family, sourcePort, destinationPort, flags: 'S', sequence, options: timestampOption(T) },
    });
    const wrong = token('a wrong secret');
    const packets = await sendProbes(lab, [
      probe(wrong, 40_001, port),
      probe(wrong, 40_002, port + 1),
      probe(token(secretOf('alice')), 40_003, port),
    ]);
    const answer = (to: number) => packets.find(({ destinationPort }) => destinationPort === to);
    expect(comparable(answer(40_001) as never)).toBe(comparable(answer(40_002) as never));
    // The comparison would find a difference.
    expect(comparable(answer(40_003) as never)).not.toBe(comparable(answer(40_002) as never));
  });
});

test('a connection goes on when its secret is revoked', async () => {
  await accepts('dave');
  const steady = start(lab.client, [PYTHON, LOAD, 'steady', lab.server.addresses.ipv4, String(STEADY_PORT)], {
    knock: bringing(secretOf('dave')),
  });
  await untilSays(steady, 'begun');
  await hears('secret dave: revoked', () => secret('revoke', 'dave'));
  expect(await outcomeOf(secretOf('dave'))).toBe(REFUSED.auth);
  const { stdout } = await stop(steady);
  expect(Object.keys(JSON.parse(stdout.split('\n')[1] ?? ''))).toEqual(['ok']);
});

describe('rotation', () => {
  /** A copy for the client; `f:` names it. */
  const copyOf = (name: string, copy: string) => {
    copyFileSync(fileOf(name), join(lab.directory, copy));
    return `f:${join(lab.directory, copy)}`;
  };

  /** When the time of a secret that was replaced is over. */
  const endOfOld = (name: string) => {
    const entries = readdirSync(folder).map(parseEntry);
    const old = entries.find((entry) => entry?.kind === 'secret' && entry.name === name && entry.until);
    return (old?.kind === 'secret' && old.until) || 0;
  };

  test(
    'keeps the old secret until its time is over, across a restart and a kill of the control process',
    async () => {
      await hears('secret erin: accepted from now on', () => secret('add', 'erin'));
      const old = copyOf('erin', 'erin.old');
      expect(await outcomeOf(old)).toBe(SERVED);
      const said = 'secret erin: replaced; the old one is accepted until ';
      await hears(said, () => secret('rotate', 'erin', '--keep-old', '20s'));
      const fresh = copyOf('erin', 'erin.new');
      for (const one of [old, fresh]) expect(await outcomeOf(one)).toBe(SERVED);
      await server.stop();
      await startServer();
      expect(server.program.stderr()).toContain('named secrets: alice, bob, carol, erin, erin (old)\n');
      for (const one of [old, fresh]) expect(await outcomeOf(one)).toBe(SERVED);
      await stop(server.program, 'SIGKILL');
      const end = endOfOld('erin');
      await until('the time to be over', () => Date.now() > end + 100, 30_000);
      // Nobody is there to empty the slot.
      expect(await outcomeOf(old)).toBe(REFUSED.auth);
      expect(await outcomeOf(fresh)).toBe(SERVED);
      await startServer();
      expect(server.program.stderr()).toContain('named secrets: alice, bob, carol, erin\n');
      expect(await outcomeOf(old)).toBe(REFUSED.auth);
      expect(await outcomeOf(fresh)).toBe(SERVED);
    },
    patient(60_000),
  );

  test('is followed while the control process runs', async () => {
    const old = copyOf('erin', 'erin.old');
    await hears('secret erin (old): its time is over', () => secret('rotate', 'erin', '--keep-old', '2s'));
    expect(await outcomeOf(old)).toBe(REFUSED.auth);
    expect(await outcomeOf(copyOf('erin', 'erin.new'))).toBe(SERVED);
    await hears('secret erin: revoked', () => secret('revoke', 'erin'));
  });
});

test('what was revoked while no control process ran is refused when one runs again', async () => {
  await accepts('frank');
  await stop(server.program, 'SIGKILL');
  rmSync(fileOf('frank'));
  expect(await outcomeOf(secretOf('frank'))).toBe(SERVED);
  await startServer();
  expect(await outcomeOf(secretOf('frank'))).toBe(REFUSED.auth);
  for (const name of NAMES) expect(await outcomeOf(secretOf(name))).toBe(SERVED);
  // Its connections are inspected by the control process that follows.
  for (const { family, port } of KINDS.filter(({ mode }) => mode === 'integrity')) {
    const at = (secret: string) => outcome(lab.server.addresses[family], port, bringing(secret, 'integrity'));
    expect(await at(secretOf('bob'))).toBe(SERVED);
    expect(await at(secretOf('frank'))).toBe(REFUSED.integrity);
  }
});

test('64 secrets are accepted, a 65th is refused by its name', async () => {
  const more = Array.from({ length: 61 }, (_, i) => `user-${i + 1}`);
  for (const name of more) await accepts(name);
  for (const name of [...NAMES, 'user-1', 'user-30', 'user-61'])
    expect(await outcomeOf(secretOf(name)), name).toBe(SERVED);
  await hears(`${fileOf('aaron')} is not accepted: 64 are accepted already`, () => put('aaron'));
  expect(await outcomeOf(secretOf('aaron'))).toBe(REFUSED.auth);
  expect(await outcomeOf(secretOf('user-61'))).toBe(SERVED);
  rmSync(fileOf('aaron'));
  for (const name of more) await revokes(name);
});

test('a file that others can read is no secret, and the log and the doctor say so', async () => {
  await accepts('mallory');
  const said = `${fileOf('mallory')} is not accepted: permissions 0644 are too open`;
  await hears(said, () => chmodSync(fileOf('mallory'), 0o644));
  expect(await outcomeOf(secretOf('mallory'))).toBe(REFUSED.auth);
  const doctor = [process.execPath, KNOCKIFY, 'doctor', '--secrets', folder];
  const env = { KNOCK_CONTROL: server.socket, KNOCK_SECRET: 'only a test' };
  const { stdout, status } = await run(lab.server, doctor, { env });
  expect(stdout).toMatch(
    new RegExp(`^!!  named secrets: ${folder} has 3; ${fileOf('mallory')} is not accepted: permissions`, 'm'),
  );
  expect(status).toBe(0);
  rmSync(fileOf('mallory'));
});

test('SIGHUP is survived', async () => {
  server.program.child.kill('SIGHUP');
  expect(await outcomeOf(secretOf('alice'))).toBe(SERVED);
  expect(server.program.isRunning()).toBe(true);
});

test('the control process keeps no secret in its memory', async () => {
  const word = 'found only where it is kept';
  await accepts('grace', word);
  const { port } = KINDS.find(({ family, mode }) => family === 'ipv4' && mode === 'integrity') ?? { port: 0 };
  const served = () => outcome(lab.server.addresses.ipv4, port, bringing(word, 'integrity'));
  expect(await served()).toBe(SERVED);
  const copies = async (text: string) =>
    Number((await run(lab.server, [PYTHON, MEMORY, String(server.program.pid), text])).stdout);
  // Once it has heard that the client is gone.
  await expect.poll(() => copies(word), { timeout: patient(2_000) }).toBe(0);
  // The search finds what is there.
  expect(await copies(server.socket)).toBeGreaterThan(0);
  await revokes('grace');
});

test('without a secret left nobody gets in, and nobody listens any more', async () => {
  for (const name of NAMES) await revokes(name);
  for (const name of NAMES) expect(await outcomeOf(secretOf(name))).toBe(REFUSED.auth);
  const listen = [PYTHON, STEPS, 'listen', lab.server.addresses.ipv4, String(LATE_PORT)];
  const refused = await run(lab.server, listen, { knock: { control: server.socket } });
  expect(JSON.parse(refused.stdout).steps).toEqual([['listen', 'EPROTONOSUPPORT']]);
  expect(refused.stderr).toMatch(/^knockify: [^\n]*there is no secret[^\n]*\n$/);
  await accepts('alice');
  expect(await outcomeOf(secretOf('alice'))).toBe(SERVED);
});

test('a folder that can not be used is named, and nothing is started', async () => {
  const command = [process.execPath, KNOCKIFY, 'control', '--socket', join(lab.directory, 'never.sock')];
  const missing = join(lab.directory, 'missing');
  expect(await run(lab.server, [...command, '--secrets', missing])).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(
      new RegExp(`^knockify control: --secrets ${missing} is not accepted: ENOENT[^\\n]+\\n$`),
    ),
  });
  expect(await outcomeOf(secretOf('alice'))).toBe(SERVED);
});
