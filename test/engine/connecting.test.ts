import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { padSecret } from '../../ts/stealth/secret.ts';
import { AF_INET, AF_INET6, IPPROTO_MPTCP } from '../../ts/sys/libc.ts';
import { capturing } from '../lab/capture.ts';
import { type Family, type Lab, loseEverythingFrom, openLab, setSysctl } from '../lab/netns.ts';
import { syns } from '../lab/packets.ts';
import { until } from '../lab/program.ts';
import { takeApart } from '../lab/syn.ts';
import {
  eventually,
  FAMILY,
  outcomeOf,
  peerAt,
  readAll,
  sockaddr,
  startGuarded,
  startWorker,
  type Worker,
  writeAll,
} from './remote.ts';

/** What becomes of a client's socket on the way: phases, retransmissions, refusals, and what is given back. */

const SECRET = 'Magic secret string';
const secret = padSecret(Buffer.from(SECRET));
const PORT = 4242;
const SYN_SENT = 2;
const CLOSE = 7;

let lab: Lab;
let client: Worker;
let server: Worker;

beforeAll(async () => {
  lab = openLab();
  [client, server] = await Promise.all([startWorker(lab.client), startWorker(lab.server)]);
  await client.app.startEngine();
  await server.app.startEngine();
  await startGuarded(server, 'ipv6', PORT, secret);
});
afterAll(async () => {
  await client?.stop();
  await server?.stop();
  lab?.close();
});

async function tcpState(fd: number): Promise<number | undefined> {
  return (await client.libc.getBytes(fd, 'TCP_INFO', 1))[0];
}

test.each<Family>(['ipv4', 'ipv6'])(
  '%s: retransmitted SYNs are the same, and the answer is taken',
  async (family) => {
    const fd = await client.app.socket(FAMILY[family]);
    const peer = peerAt(lab.server, family, PORT);
    const { packets } = await capturing(lab, async (capture) => {
      const heal = loseEverythingFrom(lab, lab.client);
      await client.engine.arm(fd, peer, secret);
      await client.libc.connect(fd, peer.sockaddr);
      await client.engine.settle(fd);
      await until('a retransmitted SYN', () => capture.seen() >= 2);
      heal();
      expect(await outcomeOf(client, fd)).toBe(0);
      await writeAll(client, fd, Buffer.from('after'));
      expect((await readAll(client, fd, 5)).toString()).toBe('after');
    });
    const sent = syns(packets);
    expect(sent.length).toBeGreaterThanOrEqual(3);
    expect(new Set(sent.map(({ sequence, tsval }) => `${sequence} ${tsval}`)).size).toBe(1);
    for (const syn of sent) expect(takeApart(syn, SECRET)).toMatchObject({ computed: syn.sequence });
    await client.app.close(fd);
  },
);

test('a delayed connect looks connected, sends nothing, and becomes fresh again', async () => {
  const fd = await client.app.socket(AF_INET);
  const peer = peerAt(lab.server, 'ipv4', PORT);
  const { packets } = await capturing(lab, async () => {
    expect(await client.engine.phase(fd)).toBe('fresh');
    await client.engine.defer(fd, peer);
    expect(await client.engine.phase(fd)).toBe('deferred');
    expect(await client.libc.getUint(fd, 'SO_ERROR')).toBe(0);
    await expect(client.engine.defer(fd, peer)).rejects.toThrow('the socket is deferred; fresh was expected');
    await client.engine.release(fd);
    expect(await client.engine.phase(fd)).toBe('fresh');
    expect(await client.libc.getUint(fd, 'SO_ERROR')).toBe(0);
    expect(await client.libc.getUint(fd, 'TCP_FASTOPEN_CONNECT')).toBe(0);
    // Released is released: a plain connect may leave, with an ISN of the kernel's own.
    await client.libc.connect(fd, peer.sockaddr);
    await outcomeOf(client, fd);
  });
  expect(packets.map(({ flags }) => flags)).toEqual(['S', 'RA']);
  await client.app.close(fd);
});

test('a write into a delayed connect sends no SYN', async () => {
  const fd = await client.app.socket(AF_INET);
  const { packets } = await capturing(lab, async () => {
    await client.engine.defer(fd, peerAt(lab.server, 'ipv4', PORT));
    await client.app.write(fd, Buffer.from('too early'));
    await sleep(1_300);
  });
  expect(packets).toEqual([]);
  await client.app.close(fd);
});

test('armed: phases, and a token for one connection only', async () => {
  const fd = await client.app.socket(AF_INET);
  const closed = peerAt(lab.server, 'ipv4', 4);
  await client.engine.arm(fd, closed, secret);
  expect(await client.engine.phase(fd)).toBe('armed');
  // Not used yet: it may be exchanged.
  await client.engine.arm(fd, closed, secret);
  await client.libc.connect(fd, closed.sockaddr);
  expect(await outcomeOf(client, fd)).toBe(111);
  expect(await client.engine.phase(fd)).toBe('fresh');
  const { packets } = await capturing(lab, async () => {
    // The first connect() after a refused one only tells so.
    await client.libc.connect(fd, closed.sockaddr);
    await client.libc.connect(fd, closed.sockaddr);
    await sleep(100);
    expect(await client.engine.settle(fd)).toContain('held back');
  });
  expect(packets).toEqual([]);
  await client.engine.release(fd);
  const peer = peerAt(lab.server, 'ipv4', PORT);
  await client.engine.arm(fd, peer, secret);
  await client.libc.connect(fd, peer.sockaddr);
  expect(await outcomeOf(client, fd)).toBe(0);
  await client.app.close(fd);
});

test('what the application set is still set', async () => {
  const fd = await client.app.socket(AF_INET);
  const options = {
    SO_REUSEADDR: 1,
    TCP_MAXSEG: 1000,
    TCP_WINDOW_CLAMP: 30_000,
    TCP_QUICKACK: 0,
    IP_LOCAL_PORT_RANGE: (45_009 << 16) | 45_000,
  } as const;
  const names = Object.keys(options) as (keyof typeof options)[];
  for (const name of names) await client.libc.setInt(fd, name, options[name]);
  const before = await Promise.all(names.map((name) => client.libc.getUint(fd, name)));
  const peer = peerAt(lab.server, 'ipv4', PORT);
  await client.engine.defer(fd, peer);
  await client.engine.arm(fd, peer, secret);
  const { packets } = await capturing(lab, async () => {
    await client.libc.connect(fd, peer.sockaddr);
    expect(await outcomeOf(client, fd)).toBe(0);
  });
  await client.engine.settle(fd);
  const [syn] = syns(packets);
  expect(syn?.mss).toBe(1000);
  expect(syn?.sourcePort).toBeGreaterThanOrEqual(45_000);
  expect(syn?.sourcePort).toBeLessThanOrEqual(45_009);
  const kept = names.filter((name) => name !== 'TCP_MAXSEG' && name !== 'TCP_QUICKACK');
  for (const name of kept) {
    expect([name, await client.libc.getUint(fd, name)]).toEqual([name, before[names.indexOf(name)]]);
  }
  await client.app.close(fd);
});

test.each(['release', 'arm'] as const)(
  'an unsent token is undone by %s: nothing of the pinning is left',
  async (how) => {
    const fd = await client.app.socket(AF_INET);
    const peer = peerAt(lab.server, 'ipv4', PORT);
    await client.engine.arm(fd, peer, secret);
    if (how === 'arm') await client.engine.arm(fd, peer, secret);
    await client.engine.release(fd);
    expect(await client.libc.getUint(fd, 'IP_LOCAL_PORT_RANGE')).toBe(0);
    expect(await client.libc.getUint(fd, 'TCP_REPAIR')).toBe(0);
    expect(await client.engine.phase(fd)).toBe('fresh');
    await client.app.close(fd);
  },
);

describe('failures leave a socket that can be used, out of repair mode', () => {
  const unreachable = { address: Uint8Array.of(198, 51, 100, 1), port: PORT };

  test.each([
    {
      description: 'no route',
      run: (fd: number) =>
        client.engine.arm(fd, { ...unreachable, sockaddr: sockaddr('ipv4', '198.51.100.1', PORT) }, secret),
      error: 'connect: ENETUNREACH: network is unreachable',
    },
    {
      description: 'an address of another family',
      run: (fd: number) => client.engine.arm(fd, peerAt(lab.server, 'ipv6', PORT), secret),
      error: 'connect: EAFNOSUPPORT',
    },
    {
      description: 'a secret of the wrong length, found after the deferral',
      run: (fd: number) => client.engine.arm(fd, peerAt(lab.server, 'ipv4', PORT), secret.subarray(1)),
      error: '63 bytes',
    },
    {
      description: 'Fast Open off',
      sysctl: ['net.ipv4.tcp_fastopen', 0, 1] as const,
      run: (fd: number) => client.engine.arm(fd, peerAt(lab.server, 'ipv4', PORT), secret),
      error: 'sysctl net.ipv4.tcp_fastopen=1',
    },
    {
      description: 'Fast Open may pause',
      sysctl: ['net.ipv4.tcp_fastopen_blackhole_timeout_sec', 3600, 0] as const,
      run: (fd: number) => client.engine.defer(fd, peerAt(lab.server, 'ipv4', PORT)),
      error: 'sysctl net.ipv4.tcp_fastopen_blackhole_timeout_sec=0',
    },
  ])('$description', async ({ run, error, sysctl }) => {
    const fd = await client.app.socket(AF_INET);
    if (sysctl) setSysctl(lab.client, sysctl[0], sysctl[1]);
    try {
      await expect(run(fd)).rejects.toThrow(error);
    } finally {
      if (sysctl) setSysctl(lab.client, sysctl[0], sysctl[2]);
    }
    expect(await client.engine.phase(fd)).toBe('fresh');
    expect(await client.libc.getUint(fd, 'TCP_REPAIR')).toBe(0);
    expect(await client.libc.getUint(fd, 'TCP_FASTOPEN_CONNECT')).toBe(0);
    const peer = peerAt(lab.server, 'ipv4', PORT);
    await client.engine.arm(fd, peer, secret);
    await client.libc.connect(fd, peer.sockaddr);
    expect(await outcomeOf(client, fd)).toBe(0);
    await expect(client.engine.arm(fd, peer, secret)).rejects.toThrow('the socket is foreign');
    await client.app.close(fd);
  });

  test('timestamps turned on between arming and connecting', async () => {
    setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 0);
    const fd = await client.app.socket(AF_INET);
    const peer = peerAt(lab.server, 'ipv4', PORT);
    expect((await client.engine.arm(fd, peer, secret)).tsval).toBe(0);
    setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 1);
    await client.libc.connect(fd, peer.sockaddr);
    await sleep(50);
    expect(await tcpState(fd)).toBe(SYN_SENT);
    expect(await client.engine.settle(fd)).toContain('timestamp option did not fit');
    await client.engine.release(fd);
    expect(await tcpState(fd)).toBe(CLOSE);
    await client.app.close(fd);
  });
});

test('a SYN whose offset is not the one of the token stays here', async () => {
  const fd = await client.app.socket(AF_INET);
  const peer = peerAt(lab.server, 'ipv4', PORT);
  const { packets } = await capturing(lab, async () => {
    await client.engine.arm(fd, peer, secret);
    // Another destination than the armed one: another offset, and another token.
    await client.libc.connect(fd, sockaddr('ipv4', lab.client.addresses.ipv4, 99));
    await sleep(50);
    expect(await client.engine.settle(fd)).toContain('timestamp offset');
  });
  expect(packets).toEqual([]);
  await client.app.close(fd);
});

test.each([
  { description: 'no socket', open: async () => 1, error: 'not an IPv4 or IPv6 socket' },
  {
    description: 'a Unix socket',
    open: () => client.libc.socket(1, 1, 0),
    error: 'not an IPv4 or IPv6 socket',
  },
  { description: 'UDP', open: () => client.libc.socket(AF_INET, 2, 0), error: 'not a TCP socket' },
  {
    description: 'Multipath TCP',
    open: () => client.app.socket(AF_INET6, IPPROTO_MPTCP),
    error: 'Multipath TCP',
  },
])('$description is refused', async ({ open, error }) => {
  const fd = await open();
  await expect(client.engine.phase(fd)).rejects.toThrow(error);
  if (fd !== 1) await client.app.close(fd);
});

test('a socket of another network namespace is refused', async () => {
  const path = `${lab.directory}/gift`;
  const listener = await server.app.openGift(path);
  await client.app.give(path, await client.app.socket(AF_INET));
  const fd = await eventually(() => server.app.takeGift(listener).catch(() => undefined), 'a descriptor');
  await expect(server.engine.phase(fd)).rejects.toThrow('another network namespace');
});
