import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { padSecret } from '../../ts/stealth/secret.ts';
import { capturing } from '../lab/capture.ts';
import { type Family, type Lab, openLab, setSysctl } from '../lab/netns.ts';
import { syns } from '../lab/packets.ts';
import { takeApart } from '../lab/syn.ts';
import {
  FAMILY,
  outcomeOf,
  peerAt,
  readAll,
  startGuarded,
  startWorker,
  type Worker,
  writeAll,
} from './remote.ts';

/** The engine's tokens on real packets: two namespaces, a guard at one end, an armed socket at the other. */

const SECRET = 'Magic secret string';
const secret = padSecret(Buffer.from(SECRET));
const PAYLOAD = Buffer.from('Protected payload goes here.');
const ECONNREFUSED = 111;

const PORTS = { auth: 4242, integrity: 4243 } as const;
const FAMILIES: readonly Family[] = ['ipv4', 'ipv6', 'mapped'];
const KINDS = FAMILIES.flatMap((family) => [
  { family, mode: 'auth' as const },
  { family, mode: 'integrity' as const },
]);

let lab: Lab;
let client: Worker;
let server: Worker;

beforeAll(async () => {
  lab = openLab();
  [client, server] = await Promise.all([startWorker(lab.client), startWorker(lab.server)]);
  await client.app.startEngine();
  await server.app.startEngine();
  // Dual-stack listeners: the guard goes by each packet's own IP header.
  await startGuarded(server, 'ipv6', PORTS.auth, secret);
  await startGuarded(server, 'ipv6', PORTS.integrity, secret, { protectedLength: PAYLOAD.length });
});
afterAll(async () => {
  await client?.stop();
  await server?.stop();
  lab?.close();
});

interface Attempt {
  readonly fd: number;
  readonly token: { readonly isn: number; readonly tsval: number };
  readonly errno: number;
}

async function connectArmed(family: Family, mode: keyof typeof PORTS, key = secret): Promise<Attempt> {
  const fd = await client.app.socket(FAMILY[family]);
  const peer = peerAt(lab.server, family, PORTS[mode]);
  if (mode === 'integrity') await client.engine.defer(fd, peer);
  const payload = mode === 'integrity' ? PAYLOAD : undefined;
  const token = await client.engine.arm(fd, peer, key, payload);
  expect(await client.libc.getUint(fd, 'TCP_REPAIR')).toBe(0);
  await client.libc.connect(fd, peer.sockaddr);
  expect(await client.engine.settle(fd)).toBeUndefined();
  const errno = await outcomeOf(client, fd);
  return { fd, token, errno };
}

describe.each([0, 1, 2])('net.ipv4.tcp_timestamps=%i', (timestamps) => {
  beforeAll(() => setSysctl(lab.client, 'net.ipv4.tcp_timestamps', timestamps));
  afterAll(() => setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 1));

  test.each(KINDS)(
    '$family, $mode: the SYN carries the token and the data flows',
    async ({ family, mode }) => {
      const { result, packets } = await capturing(lab, async () => {
        const attempt = await connectArmed(family, mode);
        expect(attempt.errno).toBe(0);
        const bulk = Buffer.concat([PAYLOAD, Buffer.alloc(200_000, family)]);
        const [, echo] = await Promise.all([
          writeAll(client, attempt.fd, bulk),
          readAll(client, attempt.fd, bulk.length),
        ]);
        expect(echo.equals(bulk)).toBe(true);
        await client.app.close(attempt.fd);
        return attempt;
      });
      const [syn, ...others] = syns(packets);
      if (syn === undefined) throw new Error('no SYN');
      expect(others).toEqual([]);
      const taken = takeApart(syn, SECRET, mode === 'integrity' ? PAYLOAD : undefined);
      expect(taken.onTheWire).toBe(taken.computed);
      expect(result.token).toEqual({ isn: syn.sequence, tsval: syn.tsval ?? 0 });
      expect(syn.tsval === undefined).toBe(timestamps === 0);
      expect(syn.checksum).toBe('good');
      expect(packets.filter(({ checksum }) => checksum !== 'good')).toEqual([]);
    },
  );

  test.each(KINDS)('$family, $mode: another secret is refused', async ({ family, mode }) => {
    const { fd, errno } = await connectArmed(family, mode, padSecret(Buffer.from('wrong')));
    expect(errno).toBe(ECONNREFUSED);
    await client.app.close(fd);
  });
});

test.each(FAMILIES)('%s: a plain connect is refused as by a closed port', async (family) => {
  const { packets } = await capturing(lab, async () => {
    for (const port of [PORTS.auth, 4]) {
      const fd = await client.app.socket(FAMILY[family]);
      await client.libc.connect(fd, peerAt(lab.server, family, port).sockaddr);
      expect(await outcomeOf(client, fd)).toBe(ECONNREFUSED);
      await client.app.close(fd);
    }
  });
  const resets = packets
    .filter((packet) => packet.sourcePort === PORTS.auth || packet.sourcePort === 4)
    .map(({ flags, window, options, ttl, ipFlags, ipId, trafficClass, sequence }) => {
      return { flags, window, options, ttl, ipFlags, ipId, trafficClass, sequence };
    });
  expect(resets).toHaveLength(2);
  expect(resets[0]).toEqual(resets[1]);
});

test('the unspecified address is this machine, and the token names the address on the wire', async () => {
  for (const family of FAMILIES) {
    const fd = await client.app.socket(FAMILY[family]);
    const listener = await startGuarded(client, 'ipv6', 4300, secret);
    const any = { ipv4: '0.0.0.0', ipv6: '::', mapped: '::ffff:0.0.0.0' }[family];
    const host = { ...lab.client, addresses: { ...lab.client.addresses, [family]: any } };
    const peer = peerAt(host, family, 4300);
    await client.engine.arm(fd, peer, secret);
    await client.libc.connect(fd, peer.sockaddr);
    expect(await outcomeOf(client, fd)).toBe(0);
    await client.app.close(fd);
    await client.app.stopListening(listener);
  }
});

test('connection churn on one port of the application: TIME-WAIT does not disturb the token', async () => {
  // By default only loopback connections take over from TIME-WAIT, and each only after a second.
  setSysctl(lab.client, 'net.ipv4.tcp_tw_reuse', 1);
  for (let round = 0; round < 5; round++) {
    if (round > 0) await sleep(2500);
    const fd = await client.app.socket(FAMILY.ipv4);
    await client.libc.setInt(fd, 'SO_REUSEADDR', 1);
    await client.libc.bind(fd, peerAt(lab.client, 'ipv4', 5555).sockaddr);
    const peer = peerAt(lab.server, 'ipv4', PORTS.auth);
    await client.engine.arm(fd, peer, secret);
    await client.libc.connect(fd, peer.sockaddr);
    expect(await outcomeOf(client, fd)).toBe(0);
    expect(Buffer.from(await client.libc.getsockname(fd)).readUInt16BE(2)).toBe(5555);
    await writeAll(client, fd, Buffer.from('x'));
    expect((await readAll(client, fd, 1)).toString()).toBe('x');
    await client.app.close(fd);
  }
});
