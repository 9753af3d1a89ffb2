import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from '../../lab/capture.ts';
import { type Host, inside, setSysctl } from '../../lab/netns.ts';
import { syns } from '../../lab/packets.ts';
import { PYTHON, REPOSITORY, run, start, untilListening } from '../../lab/program.ts';
import { MODES, type Mode, openStealthLab, type StealthLab } from '../../lab/stealthlab.ts';
import { expectTokens } from '../../lab/tokens.ts';

/** Tokens on interfaces and through faults that distributions' kernels have as modules, and this machine's may lack. */

const CROWD = `${REPOSITORY}/test/programs/crowd.py`;
const PORTS = { auth: 9701, integrity: 9702 } as const;
const LENGTH = 1_000;
const ADDRESSES = { ipv4: '198.51.100', ipv6: '2001:db8:1:' } as const;
const FAMILIES = ['ipv4', 'ipv6'] as const;
const PEER = { ipv4: `${ADDRESSES.ipv4}.2`, ipv6: `${ADDRESSES.ipv6}:2` } as const;

let stealth: StealthLab;
let ends: readonly [Host, Host];
beforeAll(async () => {
  stealth = await openStealthLab();
  const { client, server } = stealth;
  ends = [client, server];
  for (const mode of MODES) {
    const command = [PYTHON, CROWD, 'serve', '::', String(PORTS[mode])];
    await untilListening(start(server, command, { knock: stealth.knock(server, mode) }), PORTS[mode]);
  }
});
afterAll(() => stealth?.close());

async function connect(mode: Mode, address: string, count: number): Promise<Record<string, number>> {
  const command = [PYTHON, CROWD, 'connect', address, String(PORTS[mode]), String(count), String(LENGTH)];
  const knock = { ...stealth.knock(stealth.client, mode), loglevel: 0 };
  const outcome = await run(stealth.client, command, { knock, timeout: 110_000 });
  expect(outcome).toMatchObject({ status: 0, stderr: '' });
  return JSON.parse(outcome.stdout);
}

function ip(host: Host, command: string): void {
  inside(host, ['ip', ...command.split(' ')]);
}

function addVlan(): void {
  for (const host of ends) ip(host, `link add link ${host.device} name test0 type vlan id 7`);
}

function addBond(mode: string): void {
  const [client, server] = ends;
  for (const host of ends) ip(host, `link add test0 type bond mode ${mode} miimon 50`);
  for (const name of ['port0', 'port1']) {
    ip(client, `link add ${name} type veth peer name ${name} netns ${server.namespace}`);
    for (const host of ends) ip(host, `link set ${name} master test0`);
  }
}

function addWireGuard(): void {
  const keys = ends.map((host) => {
    const secret = execFileSync('wg', ['genkey']);
    const file = join(stealth.lab.directory, `wireguard-${host.name}`);
    writeFileSync(file, secret, { mode: 0o600 });
    return { file, open: execFileSync('wg', ['pubkey'], { input: secret, encoding: 'utf8' }).trim() };
  });
  for (const [at, host] of ends.entries()) {
    const [own, other, peer] = [keys[at], keys[1 - at], ends[1 - at]];
    if (!own || !other || !peer) throw new Error('a lab has two ends');
    ip(host, 'link add test0 type wireguard');
    inside(host, [
      ...['wg', 'set', 'test0', 'private-key', own.file, 'listen-port', '51820', 'peer', other.open],
      ...['endpoint', `${peer.addresses.ipv4}:51820`, 'allowed-ips', '0.0.0.0/0,::/0'],
    ]);
  }
}

const DEVICES = [
  { description: 'VLAN on veth, the tag left to the device', add: addVlan },
  {
    description: 'VLAN on veth, the tag in the frame',
    add() {
      for (const host of ends) inside(host, ['ethtool', '-K', host.device, 'txvlan', 'off', 'rxvlan', 'off']);
      addVlan();
    },
  },
  { description: 'bond, active-backup', add: () => addBond('active-backup') },
  { description: 'bond, balance-rr', add: () => addBond('balance-rr') },
  { description: 'WireGuard', add: addWireGuard },
] as const;

describe.each(DEVICES)('$description', ({ add }) => {
  beforeAll(() => {
    add();
    for (const [at, host] of ends.entries()) {
      ip(host, `addr add ${ADDRESSES.ipv4}.${at + 1}/24 dev test0`);
      ip(host, `addr add ${ADDRESSES.ipv6}:${at + 1}/64 dev test0 nodad`);
      for (const device of portsOf(host)) ip(host, `link set ${device} up`);
      ip(host, 'link set test0 up');
    }
  });
  afterAll(() => {
    for (const host of ends) ip(host, 'link del test0');
    for (const device of portsOf(stealth.client)) ip(stealth.client, `link del ${device}`);
  });

  test('IPv4 and IPv6, both modes: served, by their tokens only', async () => {
    const kinds = FAMILIES.flatMap((family) => MODES.map((mode) => ({ address: PEER[family], mode })));
    const { packets } = await capturing(
      stealth.lab,
      async () => {
        for (const { address, mode } of kinds) expect(await connect(mode, address, 3)).toEqual({ ok: 3 });
      },
      { host: { ...stealth.client, device: 'test0' }, beyond: PEER.ipv4 },
    );
    for (const { address, mode } of kinds) {
      const own = packets.filter(({ source, destination, ...packet }) => {
        const ports = [packet.sourcePort, packet.destinationPort];
        return [source, destination].includes(address) && ports.includes(PORTS[mode]);
      });
      expect(syns(own).length).toBeGreaterThanOrEqual(3);
      expectTokens(own, mode);
    }
    for (const address of Object.values(PEER)) {
      const plain = [PYTHON, CROWD, 'connect', address, String(PORTS.auth), '2', String(LENGTH)];
      const { stdout } = await run(stealth.client, plain);
      expect(JSON.parse(stdout)).toEqual({ ECONNREFUSED: 2 });
    }
  });
});

/** What a bond is made of. */
function portsOf(host: Host): string[] {
  return inside(host, ['ls', '/sys/class/net'])
    .split('\n')
    .filter((name) => name.startsWith('port'));
}

// Where the timestamp comes from differs between kernels.
test.each([0, 1, 2])('tcp_timestamps=%d at the client: served, by their tokens only', async (timestamps) => {
  const { client, server } = stealth;
  setSysctl(client, 'net.ipv4.tcp_timestamps', timestamps);
  const { packets } = await capturing(stealth.lab, async () => {
    for (const [at, mode] of MODES.entries()) {
      const { [FAMILIES[at] ?? 'ipv4']: address } = server.addresses;
      expect(await connect(mode, address, 3)).toEqual({ ok: 3 });
    }
  });
  setSysctl(client, 'net.ipv4.tcp_timestamps', 1);
  expect(syns(packets).filter(({ tsval }) => (tsval === undefined) === (timestamps === 0)).length).toBe(6);
  for (const mode of MODES) {
    const own = packets.filter((packet) => [packet.sourcePort, packet.destinationPort].includes(PORTS[mode]));
    expect(syns(own).length).toBe(3);
    expectTokens(own, mode);
  }
});

describe('netem loses a fifth, repeats a fifth and reorders', () => {
  const COUNT = 12;
  // With SYN cookies a plain server, too, resets a connection whose second segment overtakes the first.
  beforeAll(() => setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 0));
  afterAll(() => setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 1));
  afterEach(() => {
    for (const host of ends) inside(host, ['tc', 'qdisc', 'del', 'dev', host.device, 'root']);
  });

  test.each(MODES)(
    `${COUNT} connections, %s: all succeed, with right tokens`,
    async (mode) => {
      const netem = 'netem loss 20% duplicate 20% delay 20ms reorder 25% 50%'.split(' ');
      for (const host of ends) inside(host, ['tc', 'qdisc', 'add', 'dev', host.device, 'root', ...netem]);
      const { result, packets } = await capturing(stealth.lab, () =>
        connect(mode, stealth.server.addresses.ipv4, COUNT),
      );
      expect(result).toEqual({ ok: COUNT });
      expect(packets.filter(({ flags }) => flags === 'RA')).toEqual([]);
      expectTokens(packets, mode);
      // A frame that was repeated has the identification of the first, a retransmission its own.
      const frames = packets.map(({ frame }) => frame.toString('hex'));
      expect(new Set(frames).size).toBeLessThan(frames.length);
      for (const host of ends) {
        const [shown] = JSON.parse(
          inside(host, ['tc', '-s', '-j', 'qdisc', 'show', 'dev', host.device, 'root']),
        );
        expect(shown).toMatchObject({ kind: 'netem', drops: expect.any(Number) });
        expect(shown.drops).toBeGreaterThan(0);
      }
    },
    300_000,
  );
});
