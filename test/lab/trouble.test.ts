import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken } from '../../ts/stealth/token.ts';
import { capturing } from './capture.ts';
import { inside, loseEverythingFrom, NOBODY, setSysctl } from './netns.ts';
import { syns } from './packets.ts';
import { startFlood } from './probes.ts';
import { type Program, PYTHON, REPOSITORY, run, start, stop, untilListening, untilSays } from './program.ts';
import { scaled } from './scale.ts';
import { MODES, type Mode, openStealthLab, SECRET, type StealthLab } from './stealthlab.ts';
import { expectTokens } from './tokens.ts';

/** Many connections at once, a server that is flooded, and a wire that loses, repeats and reorders packets. */

const CROWD = `${REPOSITORY}/test/programs/crowd.py`;
const BAD_WIRE = `${REPOSITORY}/test/lab/badwire.py`;
const PORTS = { auth: 9501, integrity: 9502 } as const;
const LENGTH = 1_000;

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
  const { server } = stealth;
  for (const mode of MODES) {
    const command = [PYTHON, CROWD, 'serve', server.addresses.ipv4, String(PORTS[mode])];
    await untilListening(start(server, command, { knock: stealth.knock(server, mode) }), PORTS[mode]);
  }
});
afterAll(() => stealth?.close());

async function connect(mode: Mode, count: number, secret = SECRET): Promise<Record<string, number>> {
  const { client, server } = stealth;
  const command = [PYTHON, CROWD, 'connect', server.addresses.ipv4, String(PORTS[mode])];
  const outcome = await run(client, [...command, String(count), String(LENGTH)], {
    // A program so busy connecting that it does not write for seconds is told about KNOCK_INTLEN.
    knock: { ...stealth.knock(client, mode, secret), loglevel: 0 },
    timeout: 110_000,
  });
  expect(outcome).toMatchObject({ status: 0, stderr: '' });
  return JSON.parse(outcome.stdout);
}

describe.each([1, 2])('with tcp_timestamps=%d at the client', (timestamps) => {
  beforeAll(() => setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', timestamps));
  afterAll(() => setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', 1));

  // With 2 all ports have the same timestamp offset, as on older kernels: those of a tick have the same token.
  const COUNT = scaled(300, 2_000);
  test.each(MODES)(`${COUNT} connections at once, %s`, { timeout: 120_000 }, async (mode) => {
    const { result, packets } = await capturing(stealth.lab, () => connect(mode, COUNT), {
      filter: 'tcp[13] = 2',
    });
    expect(result).toEqual({ ok: COUNT });
    const tokens = new Set(syns(packets).map(({ sequence, tsval }) => `${sequence} ${tsval}`));
    // Each tick has at least one; how many connections share it is the machine's affair.
    expect(tokens.size).toBeGreaterThan(0);
    expect(tokens.size).toBeLessThanOrEqual(COUNT);
  });
});

describe('a wire that loses a fifth, repeats a tenth and reorders', () => {
  // With SYN cookies a plain server, too, resets a connection whose second segment overtakes the first.
  beforeAll(() => setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 0));
  afterAll(() => setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 1));
  const wires: Program[] = [];
  const heal: (() => void)[] = [];
  afterEach(async () => {
    for (const end of heal.splice(0)) end();
    for (const wire of wires.splice(0)) await stop(wire);
  });

  async function spoil(seed: number): Promise<void> {
    const { lab, client, server } = stealth;
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      heal.push(loseEverythingFrom(lab, from));
      const wire = [PYTHON, '-u', BAD_WIRE, from.device, NOBODY, to.mac, String(seed), '0.2', '0.1', '0.03'];
      wires.push(start(from, wire));
    }
    for (const wire of wires) await untilSays(wire, 'ready');
  }

  const COUNT = scaled(12, 200);
  test.each(MODES)(
    `${COUNT} connections, %s: none fails, with right tokens`,
    { timeout: 120_000 },
    async (mode) => {
      await spoil(MODES.indexOf(mode));
      const { result, packets } = await capturing(stealth.lab, () => connect(mode, COUNT));
      // Whoever lost seven times in a row, which a plain connection does once in a thousand times, was still trying at the end.
      const { ok = 0, timeout = 0, ...failed } = result;
      expect(failed).toEqual({});
      expect(ok + timeout).toBe(COUNT);
      expect(timeout).toBeLessThanOrEqual(Math.ceil(COUNT / 50));
      // A SYN is never refused. Stragglers of a connection that is over are, as everywhere.
      expect(packets.filter(({ flags }) => flags === 'RA')).toHaveLength(0);
      expect(syns(packets).length).toBeGreaterThan(COUNT);
      expectTokens(packets, mode);
      const seen = await Promise.all(wires.map((wire) => stop(wire)));
      for (const { stdout } of seen) {
        const counts = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
        expect(Math.min(counts.lost, counts.copied)).toBeGreaterThan(0);
      }
    },
  );
});

describe.each([
  { cookies: 0, flooded: false },
  { cookies: 1, flooded: true },
  { cookies: 2, flooded: false },
])('tcp_syncookies=$cookies, flooded with right tokens: $flooded', ({ cookies, flooded }) => {
  let flood: Program | undefined;
  beforeAll(async () => {
    const { lab, server } = stealth;
    setSysctl(server, 'net.ipv4.tcp_syncookies', cookies);
    if (!flooded) return;
    const source = '192.0.2.200';
    inside(server, ['ip', 'neigh', 'replace', source, 'lladdr', NOBODY, 'dev', server.device]);
    const syn = (mode: Mode) => {
      const destination = destinationOf(server.addresses.ipv4, PORTS[mode]);
      const hash = mode === 'integrity' ? { integrityHash: 1 } : {};
      return computeToken({ secret: padSecret(Buffer.from(SECRET)), destination, tsval: 0, ...hash }).isn;
    };
    // More than the backlog of 4096.
    const probes = MODES.flatMap((mode) =>
      Array.from({ length: 6_000 }, (_, index) => {
        const from = { family: 'ipv4', source, sourcePort: 1024 + index } as const;
        return { ...from, destinationPort: PORTS[mode], flags: 'S', sequence: syn(mode) };
      }),
    );
    flood = await startFlood(lab, probes);
  });
  afterAll(async () => {
    if (flood) await stop(flood);
    setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 1);
  });

  test.each(MODES)('%s: who has the secret is served, who has not is refused', async (mode) => {
    const sent = () =>
      Number(/Sent\s+(\d+)/.exec(inside(stealth.server, ['nstat', '-asz', 'TcpExtSyncookiesSent']))?.[1]);
    const before = sent();
    expect(await connect(mode, 20)).toEqual({ ok: 20 });
    expect(sent() > before).toBe(cookies > 0);
    expect(await connect(mode, 20, 'another secret')).toEqual({ ECONNREFUSED: 20 });
  });
});
