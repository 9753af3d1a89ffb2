import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from './capture.ts';
import { PAGE, startLighttpd, urlOf, type WebServer } from './lighttpd.ts';
import { type Family, type Lab, loseEverythingFrom, openLab, setSysctl } from './netns.ts';
import { scan } from './nmap.ts';
import { shape, syns } from './packets.ts';
import { sendProbes } from './probes.ts';
import { run, start, stop, until } from './program.ts';

/** The harness without stealth: what it says about an ordinary server must be true before it may judge another. */

const PORTS = { ipv4: 8004, ipv6: 8006, mapped: 8046 } as const;
const FAMILIES: readonly Family[] = ['ipv4', 'ipv6', 'mapped'];

let lab: Lab;
const servers: WebServer[] = [];

beforeAll(async () => {
  lab = openLab();
  for (const family of FAMILIES) servers.push(await startLighttpd(lab, { family, port: PORTS[family] }));
});
afterAll(() => lab?.close());

describe.each(FAMILIES)('an ordinary web server over %s', (family) => {
  test('gives curl its page, and the capture shows the whole conversation', async () => {
    const { result, packets } = await capturing(lab, () =>
      run(lab.client, ['curl', '-sS', urlOf(lab.server, family, PORTS[family])]),
    );
    expect(result).toMatchObject({ status: 0, stdout: PAGE });
    expect(packets.every((packet) => packet.checksum === 'good')).toBe(true);
    expect(shape(packets, PORTS[family]).slice(0, 3)).toEqual(['> S 0', '< SA 0', '> A 0']);
    const [syn, synAck] = packets;
    expect(syn).toMatchObject({ version: family === 'ipv6' ? 6 : 4, ttl: 64, tsecr: 0 });
    expect(synAck).toMatchObject({ acknowledgment: ((syn?.sequence ?? 0) + 1) >>> 0, tsecr: syn?.tsval });
    // MSS, SACK permitted, timestamps, window scale: Linux's order, and the bytes as they are.
    expect(syn?.options).toMatch(/^0204[0-9a-f]{4}0402080a[0-9a-f]{8}00000000010303[0-9a-f]{2}$/);
    expect(syn?.frame.subarray(-20).toString('hex')).toBe(syn?.options);
    const request = packets.find((packet) => packet.length > 0);
    expect(Buffer.from(request?.payload ?? '', 'hex').toString()).toMatch(/^GET \/ HTTP/);
  });

  test('is open to nmap where its neighbour is closed', async () => {
    const verdicts = await scan(lab.client, '-sS', lab.server.addresses[family], [
      PORTS[family],
      PORTS[family] + 1,
    ]);
    expect(verdicts.map(({ state, reason }) => [state, reason])).toEqual([
      ['open', 'syn-ack'],
      ['closed', 'reset'],
    ]);
  });
});

test('a SYN without timestamps is decoded as such', async () => {
  setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 0);
  const { packets } = await capturing(lab, () =>
    run(lab.client, ['curl', '-sS', urlOf(lab.server, 'ipv4', PORTS.ipv4)]),
  );
  setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 1);
  expect(syns(packets)).toHaveLength(1);
  expect(syns(packets)[0]).toMatchObject({ tsval: undefined, tsecr: undefined });
  expect(syns(packets)[0]?.options).not.toContain('080a');
});

test.each(['ipv4', 'ipv6'] as const)(
  'packets can be lost on the way over %s, and are captured',
  async (family) => {
    const { packets } = await capturing(lab, async (capture) => {
      const heal = loseEverythingFrom(lab, lab.client);
      const curl = start(lab.client, ['curl', '-sS', urlOf(lab.server, family, PORTS[family])]);
      await until('a retransmitted SYN', () => capture.seen() >= 2);
      heal();
      expect((await curl.ended).stdout).toBe(PAGE);
    });
    expect(syns(packets).length).toBeGreaterThanOrEqual(2);
  },
);

test('raw probes leave as they are described, and their answers are seen', async () => {
  const probe = { sourcePort: 40001, flags: 'S', sequence: 0x01020304, options: '020405b4', window: 1000 };
  const packets = await sendProbes(lab, [
    { ...probe, family: 'ipv4', destinationPort: PORTS.ipv4 },
    { ...probe, family: 'ipv4', destinationPort: PORTS.ipv4 + 1 },
    { ...probe, family: 'ipv6', destinationPort: PORTS.ipv6 },
    { ...probe, family: 'ipv6', destinationPort: PORTS.ipv6 + 1, payload: '616263' },
  ]);
  expect(syns(packets)).toHaveLength(4);
  for (const syn of syns(packets)) {
    expect(syn).toMatchObject({ sequence: 0x01020304, options: '020405b4', window: 1000, checksum: 'good' });
  }
  const answers = packets.filter((packet) => packet.destinationPort === 40001);
  expect(answers.map((packet) => [packet.flags, packet.acknowledgment])).toEqual([
    ['SA', 0x01020305],
    ['RA', 0x01020305],
    ['SA', 0x01020305],
    ['RA', 0x01020308],
  ]);
});

test('a closed lab is gone with everything that ran in it', async () => {
  const other = openLab();
  const program = start(other.client, ['sleep', '600']);
  await until('the program to run', () => readFileSync(`/proc/${program.pid}/comm`, 'utf8') === 'sleep\n');
  other.close();
  const outcome = await stop(program);
  expect(outcome.signal).toBe('SIGKILL');
  expect(readdirSync('/run/netns').filter((name) => name === other.client.namespace)).toEqual([]);
  expect(existsSync(other.directory)).toBe(false);
});
