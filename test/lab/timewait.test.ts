import { afterAll, beforeAll, expect, test } from 'vitest';
import { inside, setSysctl } from './netns.ts';
import { PYTHON, REPOSITORY, run, start, stop, untilListening } from './program.ts';
import { scaled } from './scale.ts';
import { MODES, openStealthLab, PROTECTED_LENGTH, type StealthLab } from './stealthlab.ts';

/** One client, one port, one connection after another: ports come again while they are in TIME-WAIT. */

const CHURN = `${REPOSITORY}/test/programs/churn.py`;
/** Connections of each kind: 100,000 for each value of tcp_tw_reuse. */
const CONNECTIONS = scaled(150, 25_000);
/** So many ports there are for them. */
const PORTS = scaled(100, 10_000);

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
});
afterAll(() => stealth?.close());

/** Who may close first: without reuse, or across an interface with 2, the client's ports would soon be used up. */
const KINDS = [
  { reuse: 0, on: 'loopback', first: 'server' },
  { reuse: 1, on: 'loopback', first: 'client' },
  { reuse: 2, on: 'loopback', first: 'client' },
  { reuse: 0, on: 'veth', first: 'server' },
  { reuse: 1, on: 'veth', first: 'client' },
  { reuse: 2, on: 'veth', first: 'server' },
] as const;

const CASES = KINDS.flatMap((kind, index) =>
  MODES.map((mode, nth) => ({ ...kind, mode, port: 9400 + 2 * index + nth })),
);

// Three of them with every test: each value once, both places, both ends and both modes.
test.each(scaled([CASES[1], CASES[6], CASES[8]], CASES) as typeof CASES)(
  `${CONNECTIONS} connections, tcp_tw_reuse=$reuse, $on, the $first closes first, $mode`,
  { timeout: 600_000 },
  async ({ reuse, on, first, mode, port }) => {
    const { client, server } = stealth;
    const host = on === 'loopback' ? server : client;
    const address = on === 'loopback' ? '127.0.0.1' : server.addresses.ipv4;
    setSysctl(host, 'net.ipv4.tcp_tw_reuse', reuse);
    const usual = inside(host, ['sysctl', '-n', 'net.ipv4.ip_local_port_range']).trim();
    setSysctl(host, 'net.ipv4.ip_local_port_range', `30000 ${30_000 + PORTS - 1}`);
    const served = start(server, [PYTHON, CHURN, 'serve', address, String(port), first], {
      knock: stealth.knock(server, mode),
    });
    await untilListening(served, port);
    const command = [PYTHON, CHURN, 'connect', address, String(port), first];
    const outcome = await run(host, [...command, ...[CONNECTIONS, PROTECTED_LENGTH, PORTS].map(String)], {
      knock: stealth.knock(host, mode),
      timeout: 590_000,
    });
    await stop(served);
    setSysctl(host, 'net.ipv4.ip_local_port_range', usual);
    expect(outcome).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(outcome.stdout)).toEqual({ ok: CONNECTIONS });
  },
);
