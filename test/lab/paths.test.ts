import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from './capture.ts';
import { type Control, startControl } from './control.ts';
import { type Host, inside, setSysctl } from './netns.ts';
import { syns } from './packets.ts';
import { PYTHON, REPOSITORY, run, start, untilListening } from './program.ts';
import { MODES, type Mode, openStealthLab, type StealthLab } from './stealthlab.ts';

/** What lies between client and server: address translation, small packets, big ones, and interfaces that go. */

const CROWD = `${REPOSITORY}/test/programs/crowd.py`;
const FAMILIES = ['ipv4', 'ipv6'] as const;
type Family = (typeof FAMILIES)[number];
/** One that the smallest packets hold, and the longest. */
const LENGTHS = { auth: 0, integrity: 400, long: 1024 } as const;
const PORTS = { auth: 9601, integrity: 9602, long: 9603 } as const;
type Kind = keyof typeof PORTS;
const KINDS: readonly Kind[] = ['auth', 'integrity', 'long'];

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
  const { server } = stealth;
  for (const kind of KINDS) {
    const program = start(server, [PYTHON, CROWD, 'serve', '::', String(PORTS[kind])], {
      knock: { ...stealth.knock(server), intlen: LENGTHS[kind] },
    });
    await untilListening(program, PORTS[kind]);
  }
});
afterAll(() => stealth?.close());

/** A few connections that send and get back `bytes` bytes each. */
async function connect(
  kind: Kind,
  address: string,
  { from = stealth.client, control = stealth.controls.client, bytes = 2_000, knocking = true } = {},
): Promise<Record<string, number>> {
  const command = [PYTHON, CROWD, 'connect', address, String(PORTS[kind]), '5', String(bytes)];
  const knock = { ...stealth.knock(stealth.client), control: control.socket, intlen: LENGTHS[kind] };
  const outcome = await run(from, command, knocking ? { knock } : {});
  expect(outcome).toMatchObject({ status: 0, stderr: '' });
  return JSON.parse(outcome.stdout);
}

describe('address translation', () => {
  const INSIDE = { ipv4: '198.51.100.2', ipv6: '2001:db8:51::2' } as const;
  let inner: Host;
  let control: Control;

  // The lab's client is the router of a further host.
  beforeAll(async () => {
    const { lab, client } = stealth;
    inner = { ...client, namespace: `${client.namespace}-inner`, device: 'inner0' };
    execFileSync('ip', ['netns', 'add', inner.namespace]);
    inside(client, [
      'ip',
      'link',
      'add',
      'outer0',
      'type',
      'veth',
      'peer',
      'name',
      'inner0',
      'netns',
      inner.namespace,
    ]);
    inside(inner, ['ip', 'link', 'set', 'lo', 'up']);
    for (const [host, device, last] of [
      [client, 'outer0', 1],
      [inner, 'inner0', 2],
    ] as const) {
      inside(host, ['ip', 'addr', 'add', `198.51.100.${last}/24`, 'dev', device]);
      inside(host, ['ip', 'addr', 'add', `2001:db8:51::${last}/64`, 'dev', device, 'nodad']);
      inside(host, ['ip', 'link', 'set', device, 'up']);
    }
    inside(inner, ['ip', 'route', 'add', 'default', 'via', '198.51.100.1']);
    inside(inner, ['ip', '-6', 'route', 'add', 'default', 'via', '2001:db8:51::1']);
    setSysctl(client, 'net.ipv4.ip_forward', 1);
    setSysctl(client, 'net.ipv6.conf.all.forwarding', 1);
    const rule = (
      family: string,
    ) => `table ${family} nat { chain post { type nat hook postrouting priority srcnat;
      oifname "${client.device}" meta l4proto tcp masquerade to :40000-49999 fully-random; }; }`;
    inside(client, ['nft', `${rule('ip')}\n${rule('ip6')}`]);
    control = await startControl(lab, inner);
  });
  afterAll(async () => {
    await control?.stop();
    if (inner) execFileSync('ip', ['netns', 'del', inner.namespace]);
    inside(stealth.client, ['nft', 'flush', 'ruleset']);
  });

  test.each(FAMILIES.flatMap((family) => MODES.map((mode) => ({ family, mode }))))(
    'masquerade at the client, $family, $mode: served, by its token only',
    async ({ family, mode }) => {
      const address = stealth.server.addresses[family];
      const { result, packets } = await capturing(stealth.lab, () =>
        connect(mode, address, { from: inner, control }),
      );
      expect(result).toEqual({ ok: 5 });
      expect(new Set(syns(packets).map(({ source }) => source))).toEqual(
        new Set([stealth.client.addresses[family]]),
      );
      expect(INSIDE[family]).not.toBe(stealth.client.addresses[family]);
      for (const { sourcePort } of syns(packets)) expect(Math.floor(sourcePort / 10_000)).toBe(4);
      expect(await connect(mode, address, { from: inner, control, knocking: false })).toEqual({
        ECONNREFUSED: 5,
      });
    },
  );

  test.each(FAMILIES)("a rule for the router's own connections that changes nothing, %s", async (family) => {
    const { client, server } = stealth;
    const rule = (table: string) =>
      `table ${table} nat { chain post { type nat hook postrouting priority srcnat; oifname "${client.device}" masquerade; }; }`;
    inside(client, ['nft', `flush ruleset\n${rule('ip')}\n${rule('ip6')}`]);
    expect(await connect('auth', server.addresses[family])).toEqual({ ok: 5 });
  });
});

function both(work: (host: Host) => void): void {
  for (const host of [stealth.client, stealth.server]) work(host);
}

describe('segmentation and joining left to the device', () => {
  const offload = (word: 'on' | 'off') =>
    both((host) => {
      const features = ['tx', 'tso', 'gso', 'gro'].flatMap((feature) => [feature, word]);
      inside(host, ['ethtool', '-K', host.device, ...features]);
    });
  beforeAll(() => offload('on'));
  afterAll(() => offload('off'));

  test.each(FAMILIES.flatMap((family) => KINDS.map((kind) => ({ family, kind }))))(
    '$family, $kind: 300,000 bytes there and back',
    async ({ family, kind }) => {
      expect(await connect(kind, stealth.server.addresses[family], { bytes: 300_000 })).toEqual({ ok: 5 });
    },
  );
});

describe('an interface that comes and goes', () => {
  const THERE: Record<Family, string> = { ipv4: '203.0.113.2', ipv6: '2001:db8:71::2' };

  test.each(['auth', 'integrity'] satisfies Mode[])('%s, three times', async (mode) => {
    const { client, server } = stealth;
    for (let round = 0; round < 3; round++) {
      inside(client, [
        'ip',
        'link',
        'add',
        'passing0',
        'type',
        'veth',
        'peer',
        'name',
        'passing0',
        'netns',
        server.namespace,
      ]);
      for (const [host, last] of [
        [client, 1],
        [server, 2],
      ] as const) {
        inside(host, ['ip', 'addr', 'add', `203.0.113.${last}/24`, 'dev', 'passing0']);
        inside(host, ['ip', 'addr', 'add', `2001:db8:71::${last}/64`, 'dev', 'passing0', 'nodad']);
        inside(host, ['ip', 'link', 'set', 'passing0', 'up']);
      }
      for (const family of FAMILIES) expect(await connect(mode, THERE[family])).toEqual({ ok: 5 });
      inside(client, ['ip', 'link', 'del', 'passing0']);
      expect(await connect(mode, server.addresses.ipv4)).toEqual({ ok: 5 });
    }
    expect(stealth.controls.client.program.stderr()).not.toMatch(/error|following/i);
  });
});

// Last, because it ends IPv6 on these interfaces, which wants 1280.
describe('an MTU of 576', () => {
  const setMtu = (mtu: number) =>
    both((host) => inside(host, ['ip', 'link', 'set', host.device, 'mtu', String(mtu)]));
  beforeAll(() => setMtu(576));

  test.each(['auth', 'integrity'] as const)('%s: protected bytes that fit', async (kind) => {
    expect(await connect(kind, stealth.server.addresses.ipv4)).toEqual({ ok: 5 });
  });

  test('protected bytes that do not fit into the first segment: reset, as the draft has it', async () => {
    expect(await connect('long', stealth.server.addresses.ipv4)).toEqual({ ECONNRESET: 5 });
  });
});
