import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from './capture.ts';
import { PAGE, startLighttpd, urlOf } from './lighttpd.ts';
import { inside, loseEverythingFrom, setSysctl } from './netns.ts';
import { type Packet, syns } from './packets.ts';
import { run, start, until } from './program.ts';
import { KINDS, type Mode, openStealthLab, PROTECTED_LENGTH, SECRET, type StealthLab } from './stealthlab.ts';
import { firstSegmentAfter, takeApart } from './syn.ts';

/** The SYN carries the token, whatever becomes of it on the way (draft sections 3 and 4). */

let stealth: StealthLab;

beforeAll(async () => {
  stealth = await openStealthLab();
  const { lab, server } = stealth;
  await Promise.all(
    KINDS.map(({ family, mode, port }) =>
      startLighttpd(lab, { family, port, knock: stealth.knock(server, mode) }),
    ),
  );
});
afterAll(() => stealth?.close());

/** What `net.ipv4.tcp_timestamps` is at both ends, and whether the SYN then has the option. */
const TIMESTAMPS = [
  { timestamps: 'on', client: 1, server: 1 },
  { timestamps: 'off', client: 0, server: 1 },
  { timestamps: 'on without offset', client: 2, server: 2 },
  { timestamps: 'on, but off at the server', client: 1, server: 0 },
] as const;

function expectToken(syn: Packet | undefined, packets: readonly Packet[], mode: Mode): void {
  if (syn === undefined) throw new Error('no SYN was sent');
  const segment = firstSegmentAfter(syn, packets);
  const taken = takeApart(
    syn,
    SECRET,
    mode === 'integrity' ? segment.subarray(0, PROTECTED_LENGTH) : undefined,
  );
  expect(taken.onTheWire).toBe(taken.computed);
  expect(syn.checksum).toBe('good');
}

describe.each(TIMESTAMPS)('timestamps $timestamps', ({ client, server }) => {
  beforeAll(() => {
    setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', client);
    setSysctl(stealth.server, 'net.ipv4.tcp_timestamps', server);
  });
  afterAll(() => {
    setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', 1);
    setSysctl(stealth.server, 'net.ipv4.tcp_timestamps', 1);
  });

  test.each(KINDS)(
    '$family, $mode: the ISN is the token, and the page arrives',
    async ({ family, mode, port }) => {
      const { result, packets } = await capturing(stealth.lab, () =>
        run(stealth.client, ['curl', '-sS', '-m', '8', urlOf(stealth.server, family, port)], {
          knock: stealth.knock(stealth.client, mode),
        }),
      );
      expect(result).toMatchObject({ status: 0, stdout: PAGE, stderr: '' });
      expect(syns(packets)).toHaveLength(1);
      expect(syns(packets)[0]?.tsval === undefined).toBe(client === 0);
      expectToken(syns(packets)[0], packets, mode);
      expect(packets.filter((packet) => packet.checksum !== 'good' || packet.flags.includes('R'))).toEqual(
        [],
      );
    },
  );
});

describe.each([
  // Three SYNs each; or two with a SYN-ACK each, and one SYN-ACK that the server's own timer repeats.
  { lost: 'SYNs', from: 'client', packetsEach: 3 },
  { lost: 'SYN-ACKs', from: 'server', packetsEach: 5 },
] as const)('lost $lost', ({ from, packetsEach }) => {
  test('are made up for by SYNs with the same ISN and TSval', async () => {
    const { lab, client, server } = stealth;
    const { result, packets } = await capturing(lab, async (capture) => {
      const heal = loseEverythingFrom(lab, lab[from]);
      const curls = KINDS.map(({ family, mode, port }) =>
        start(client, ['curl', '-sS', '-m', '20', urlOf(server, family, port)], {
          knock: stealth.knock(client, mode),
        }),
      );
      await until('retransmissions', () => capture.seen() >= KINDS.length * packetsEach);
      heal();
      return Promise.all(curls.map((curl) => curl.ended));
    });
    for (const outcome of result) expect(outcome).toMatchObject({ status: 0, stdout: PAGE, stderr: '' });
    for (const { family, mode, port } of KINDS) {
      const own = packets.filter((packet) => [packet.destinationPort, packet.sourcePort].includes(port));
      const sent = syns(own);
      expect(sent.length, `SYNs over ${family}, ${mode}`).toBeGreaterThanOrEqual(2);
      expect(new Set(sent.map((syn) => syn.sequence)).size).toBe(1);
      expect(new Set(sent.map((syn) => syn.tsval)).size).toBe(1);
      for (const syn of sent) expectToken(syn, own, mode);
      expect(own.filter((packet) => packet.flags.includes('R'))).toEqual([]);
    }
  });
});

test('checksums left to the device are right, too', async () => {
  const { client, server } = stealth;
  for (const host of [client, server])
    inside(host, ['ethtool', '-K', host.device, 'tx', 'on', 'tso', 'on', 'gso', 'on']);
  const outcomes = await Promise.all(
    KINDS.map(({ family, mode, port }) =>
      run(client, ['curl', '-sS', '-m', '8', urlOf(server, family, port)], {
        knock: stealth.knock(client, mode),
      }),
    ),
  );
  for (const host of [client, server])
    inside(host, ['ethtool', '-K', host.device, 'tx', 'off', 'tso', 'off', 'gso', 'off']);
  for (const outcome of outcomes) expect(outcome).toMatchObject({ status: 0, stdout: PAGE });
});

test.each(['auth', 'integrity'] as const)(
  'churn through few ports, %s: every SYN has its token',
  async (mode) => {
    const { lab, client, server } = stealth;
    const kind = KINDS.find((candidate) => candidate.mode === mode && candidate.family === 'ipv4');
    const url = urlOf(server, 'ipv4', kind?.port ?? 0);
    const ports = inside(client, ['sysctl', '-n', 'net.ipv4.ip_local_port_range']).trim();
    setSysctl(client, 'net.ipv4.ip_local_port_range', '40000 40007');
    // curl closes first, so TIME-WAIT is the client's, and its ports are taken over from the next second on.
    setSysctl(client, 'net.ipv4.tcp_tw_reuse', 1);
    const { result, packets } = await capturing(lab, async () => {
      const outcomes = [];
      for (let round = 0; round < 20; round++) {
        outcomes.push(
          await run(client, ['curl', '-sS', '-m', '8', url], { knock: stealth.knock(client, mode) }),
        );
        if (round % 8 === 7) await new Promise((resolve) => setTimeout(resolve, 1100));
      }
      return outcomes;
    });
    setSysctl(client, 'net.ipv4.ip_local_port_range', ports);
    for (const outcome of result) expect(outcome).toMatchObject({ status: 0, stdout: PAGE });
    expect(syns(packets)).toHaveLength(20);
    for (const syn of syns(packets)) {
      const after = packets.slice(packets.indexOf(syn));
      expectToken(syn, after, mode);
    }
  },
);
