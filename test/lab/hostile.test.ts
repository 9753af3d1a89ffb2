import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encode, MAX_MESSAGE_SIZE } from '../../ts/spec/codec.ts';
import { anyMessage, spoilt } from '../fuzz/inputs.ts';
import { PAGE, startLighttpd, urlOf } from './lighttpd.ts';
import { PYTHON, REPOSITORY, run, until } from './program.ts';
import { scaled } from './scale.ts';
import { patient } from './slowness.ts';
import { openStealthLab, portOf, type StealthLab } from './stealthlab.ts';

/** Clients of the control process that say and hand over what they like. */

const HOSTILE = `${REPOSITORY}/test/lab/hostile.py`;
const LINGERING = `${REPOSITORY}/test/lab/lingering.py`;
/** Datagrams a round. */
const DATAGRAMS = scaled(500, 10_000);
const ROUNDS = 4;
/** How much its memory may differ between rounds. Bytes; the garbage collector takes its time. */
const SLACK = 24 << 20;

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
});
afterAll(() => stealth?.close());

/** Well formed, spoilt, empty, and longer than any message. */
const anyDatagram = fc.oneof(
  { weight: 8, arbitrary: spoilt(anyMessage.map(encode)) },
  { weight: 4, arbitrary: anyMessage.map(encode) },
  { weight: 1, arbitrary: fc.constant(new Uint8Array()) },
  { weight: 1, arbitrary: fc.constant(new Uint8Array(MAX_MESSAGE_SIZE + 1)) },
);

/** What the descriptors of a process are. One may be closed while they are listed. */
function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

/** Without the programs that it keeps for the next listener with the same secret, of which there are few. */
function openIn(pid: number): number {
  return descriptorsOf(pid).filter((what) => !/^anon_inode:b(pf|tf)/.test(what)).length;
}

test('sockets that take a minute to close keep nobody waiting', { timeout: patient(150_000) }, async () => {
  const { client, controls } = stealth;
  const { pid } = controls.client.program;
  const before = openIn(pid);
  const peer = new Uint8Array(28);
  const settings = Buffer.from('KNOCK_SECRET=fine\0');
  const rc = { rc_path: new Uint8Array(), rc_error: 0 };
  const message = encode({ kind: 'connect', settings, ...rc, peer, peer_size: 16 });
  const input = `${Buffer.from(message).toString('hex')}\n`;
  const result = await run(client, [PYTHON, LINGERING, controls.client.socket], { input, timeout: 140_000 });
  expect(result).toMatchObject({ status: 0, stderr: '' });
  // Its end resets their connections.
  await until('all descriptors to be closed', () => openIn(pid) <= before);
});

test(`${ROUNDS * DATAGRAMS} datagrams, with descriptors of every kind: none stays, nor any memory, and others are served`, {
  timeout: 600_000,
}, async () => {
  const { lab, client, server, controls } = stealth;
  const { pid } = controls.client.program;
  const open = () => openIn(pid);
  const resident = () =>
    1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  const before = open();
  const memory: number[] = [];
  for (let seed = 0; seed < ROUNDS; seed++) {
    const datagrams = fc.sample(anyDatagram, { numRuns: DATAGRAMS, seed });
    const input = datagrams.map((bytes) => `${Buffer.from(bytes).toString('hex')}\n`).join('');
    const command = [PYTHON, HOSTILE, controls.client.socket, String(seed)];
    const { status, stdout, stderr } = await run(client, command, { input, timeout: 120_000 });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [sent = 0, answers = 0] = stdout.split(' ').map(Number);
    expect(sent).toBe(DATAGRAMS);
    expect(answers).toBeGreaterThan(DATAGRAMS / 4);
    await until('all descriptors to be closed', () => open() <= before);
    memory.push(resident());
  }
  expect((memory.at(-1) ?? 0) - (memory[0] ?? 0)).toBeLessThan(SLACK);
  expect(controls.client.program.stderr()).not.toMatch(/internal error|at Session|TypeError|RangeError/);
  const { port } = await startLighttpd(lab, {
    family: 'ipv4',
    port: portOf('ipv4', 'auth'),
    knock: stealth.knock(server),
  });
  const page = await run(client, ['curl', '-sS', '-m', '8', urlOf(server, 'ipv4', port)], {
    knock: stealth.knock(client),
  });
  expect(page).toMatchObject({ status: 0, stdout: PAGE });
});
