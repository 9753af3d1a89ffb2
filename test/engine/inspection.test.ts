import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isnOfReadings, isnOfSavedSyn } from '../../ts/engine/stock/inspection.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { type Lab, loseEverythingFrom, openLab, setSysctl } from '../lab/netns.ts';
import {
  eventually,
  FAMILY,
  outcomeOf,
  peerAt,
  sockaddr,
  startGuarded,
  startWorker,
  type Worker,
} from './remote.ts';

/** The server's half of integrity mode (draft section 3.2): what arrives must be what the SYN promised. */

const secret = padSecret(Buffer.from('Magic secret string'));
const PAYLOAD = Buffer.from('Protected payload goes here.');
const protection = { secret, protectedLength: PAYLOAD.length };
const PORT = 4243;

let lab: Lab;
let client: Worker;
let server: Worker;
let listener: number;

beforeAll(async () => {
  lab = openLab();
  [client, server] = await Promise.all([startWorker(lab.client), startWorker(lab.server)]);
  await client.app.startEngine();
  await server.app.startEngine();
  listener = await startGuarded(server, 'ipv6', PORT, secret, { ...protection, kind: 'idle' });
});
afterAll(async () => {
  await client?.stop();
  await server?.stop();
  lab?.close();
});

const CASES = [
  { description: 'the promised bytes', writes: [PAYLOAD], expected: { pass: true } },
  {
    description: 'the promised bytes and more',
    writes: [Buffer.concat([PAYLOAD, Buffer.alloc(4_000)])],
    expected: { pass: true },
  },
  {
    description: 'a changed byte',
    writes: [Buffer.from(PAYLOAD).fill('x', 27)],
    expected: { pass: false, reason: 'wrong first bytes' },
  },
  {
    description: 'a short first segment',
    writes: [PAYLOAD.subarray(0, 27)],
    expected: { pass: false, reason: 'short first segment: 27 of 28 bytes' },
  },
] as const;

describe.each([0, 2])('net.ipv4.tcp_syncookies=%i', (cookies) => {
  beforeAll(() => setSysctl(lab.server, 'net.ipv4.tcp_syncookies', cookies));
  afterAll(() => setSysctl(lab.server, 'net.ipv4.tcp_syncookies', 1));

  test.each((['ipv4', 'ipv6'] as const).flatMap((family) => CASES.map((entry) => ({ family, ...entry }))))(
    '$family: $description',
    async ({ family, writes, expected }) => {
      const before = (await server.app.accepted(listener)).length;
      const fd = await client.app.socket(FAMILY[family]);
      const peer = peerAt(lab.server, family, PORT);
      await client.engine.arm(fd, peer, secret, PAYLOAD);
      await client.libc.connect(fd, peer.sockaddr);
      expect(await outcomeOf(client, fd)).toBe(0);
      for (const bytes of writes) await client.app.write(fd, bytes);
      const accepted = await eventually(
        async () => (await server.app.accepted(listener))[before],
        'a connection',
      );
      await sleep(30);
      expect(await server.engine.phase(accepted)).toBe('foreign');
      const reuse = await server.libc.getUint(accepted, 'SO_REUSEADDR');
      // Twice: nothing is consumed, although the kernel gives a saved SYN away only once.
      expect(await server.engine.inspectAccepted(accepted, protection)).toEqual(expected);
      expect(await server.engine.inspectAccepted(accepted, protection)).toEqual(expected);
      expect(await server.libc.getUint(accepted, 'TCP_REPAIR')).toBe(0);
      expect(await server.libc.getUint(accepted, 'SO_REUSEADDR')).toBe(reuse);
      const arrived = await server.app.read(accepted);
      expect(Buffer.from(arrived ?? []).subarray(0, 4)).toEqual(writes[0].subarray(0, 4));
      await client.app.close(fd);
    },
  );
});

interface Connection {
  /** The client's end and the server's. */
  readonly fd: number;
  readonly accepted: number;
  readonly isn: number;
}

/**
 * Sends `pieces` as segments of their own, and waits until all have arrived. `lost`: the first one is at first. A
 * client that binds to `sourcePort` can come again with the same addresses and ports.
 */
async function segments(
  pieces: readonly Uint8Array[],
  {
    family = 'ipv4' as 'ipv4' | 'ipv6',
    lost = false,
    sourcePort = 0,
    to = { port: PORT, fd: listener },
  } = {},
): Promise<Connection> {
  const before = (await server.app.accepted(to.fd)).length;
  const fd = await client.app.socket(FAMILY[family]);
  await client.libc.setInt(fd, 'SO_REUSEADDR', 1);
  await client.libc.bind(fd, sockaddr(family, lab.client.addresses[family], sourcePort));
  const peer = peerAt(lab.server, family, to.port);
  const { isn } = await client.engine.arm(fd, peer, secret, PAYLOAD);
  await client.libc.connect(fd, peer.sockaddr);
  expect(await outcomeOf(client, fd)).toBe(0);
  // A short piece waits until all before it are acknowledged; a long one does not.
  const restore = lost ? loseEverythingFrom(lab, lab.client) : () => {};
  for (const piece of pieces) {
    expect(await client.app.write(fd, piece)).toBe(piece.length);
    restore();
  }
  const accepted = await eventually(async () => (await server.app.accepted(to.fd))[before], 'a connection');
  const sent = BigInt(Buffer.concat(pieces).length);
  await eventually(
    async () =>
      Buffer.from(await server.libc.getBytes(accepted, 'TCP_INFO', 160)).readBigUInt64LE(128) === sent ||
      undefined,
    'all segments',
  );
  return { fd, accepted, isn };
}

const MORE = Buffer.alloc(2_000, 'more');
const SHORT = { pass: false, reason: 'short first segment: 4 of 28 bytes' };
/** Both begin with the promised bytes. */
const LATE = {
  short: [PAYLOAD.subarray(0, 4), Buffer.concat([PAYLOAD.subarray(4), MORE])],
  long: [PAYLOAD, MORE],
} as const;

describe.each([0, 2])('more segments before the inspection, net.ipv4.tcp_syncookies=%i', (cookies) => {
  beforeAll(() => setSysctl(lab.server, 'net.ipv4.tcp_syncookies', cookies));
  afterAll(() => setSysctl(lab.server, 'net.ipv4.tcp_syncookies', 1));

  describe.each(['ipv4', 'ipv6'] as const)('%s', (family) => {
    test.each([
      { description: 'a short first segment is refused', pieces: LATE.short, expected: SHORT },
      { description: 'a long one passes', pieces: LATE.long, expected: { pass: true } },
    ])('$description, also when overtaken', async ({ pieces, expected }) => {
      for (const lost of [false, true]) {
        const { fd, accepted } = await segments(pieces, { family, lost });
        expect(await server.libc.socketFilter(accepted)).toBe('bpf');
        expect(await server.engine.inspectAccepted(accepted, protection)).toEqual(expected);
        expect(await server.engine.inspectAccepted(accepted, protection)).toEqual(expected);
        // From now on the connection costs nothing more.
        expect(await server.libc.socketFilter(accepted)).toBe('none');
        await client.app.close(fd);
      }
      expect(await server.libc.socketFilter(listener)).toBe('bpf');
    });
  });
});

test('a connection is not judged by an earlier one with the same addresses, ports and ISN', async () => {
  // Without timestamps nothing makes the ISNs of two connections differ.
  setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 0);
  const isns = new Set<number>();
  for (const name of ['long', 'short', 'long'] as const) {
    const { fd, accepted, isn } = await segments(LATE[name], { sourcePort: 30_000 });
    isns.add(isn);
    const expected = name === 'long' ? { pass: true } : SHORT;
    expect(await server.engine.inspectAccepted(accepted, protection)).toEqual(expected);
    // A reset: no TIME-WAIT keeps the port.
    await client.libc.disconnect(fd);
    await client.app.close(fd);
  }
  expect(isns.size).toBe(1);
  setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 1);
});

test('the next engine knows what the first segment was', async () => {
  const { fd, accepted } = await segments(LATE.short);
  await server.app.stopEngine(false);
  await server.app.startEngine();
  expect(await server.engine.inspectAccepted(accepted, protection)).toEqual(SHORT);
  await client.app.close(fd);
});

test('a listener whose filter the application removed goes by what arrived', async () => {
  const port = PORT + 1;
  const unwatched = await startGuarded(server, 'ipv6', port, secret, { ...protection, kind: 'idle' });
  await server.libc.setInt(unwatched, 'SO_DETACH_FILTER', 0);
  const late = await segments(LATE.short, { to: { port, fd: unwatched } });
  expect(await server.engine.inspectAccepted(late.accepted, protection)).toEqual({ pass: true });
  const only = await segments([PAYLOAD.subarray(0, 4)], { to: { port, fd: unwatched } });
  expect(await server.engine.inspectAccepted(only.accepted, protection)).toEqual(SHORT);
  for (const { fd } of [late, only]) await client.app.close(fd);
});

test('a guard that changes its mode takes the filter on and off', async () => {
  const port = PORT + 2;
  const auth = { secret, protectedLength: 0 };
  const changing = await startGuarded(server, 'ipv6', port, secret, { kind: 'idle' });
  expect(await server.libc.socketFilter(changing)).toBe('none');
  await server.engine.guard(changing, protection, auth);
  expect(await server.libc.socketFilter(changing)).toBe('bpf');
  const { fd, accepted } = await segments(LATE.short, { to: { port, fd: changing } });
  expect(await server.engine.inspectAccepted(accepted, protection)).toEqual(SHORT);
  await server.engine.guard(changing, auth, protection);
  expect(await server.libc.socketFilter(changing)).toBe('none');
  await client.app.close(fd);
});

test('with SYN cookies a connection may be accepted before its data: the result is pending', async () => {
  setSysctl(lab.server, 'net.ipv4.tcp_syncookies', 2);
  const before = (await server.app.accepted(listener)).length;
  const fd = await client.app.socket(FAMILY.ipv4);
  const peer = peerAt(lab.server, 'ipv4', PORT);
  await client.engine.arm(fd, peer, secret, PAYLOAD);
  await client.libc.connect(fd, peer.sockaddr);
  expect(await outcomeOf(client, fd)).toBe(0);
  const accepted = await eventually(
    async () => (await server.app.accepted(listener))[before],
    'a connection',
  );
  expect(await server.engine.inspectAccepted(accepted, protection)).toMatchObject({
    pass: false,
    pending: true,
  });
  await client.app.write(fd, PAYLOAD);
  await eventually(async () => {
    const result = await server.engine.inspectAccepted(accepted, protection);
    return result.pass || undefined;
  }, 'a pass');
  await client.app.close(fd);
  setSysctl(lab.server, 'net.ipv4.tcp_syncookies', 1);
});

test('only the lower half of the ISN is free in integrity mode: another secret is refused', async () => {
  const fd = await client.app.socket(FAMILY.ipv4);
  const peer = peerAt(lab.server, 'ipv4', PORT);
  await client.engine.arm(fd, peer, padSecret(Buffer.from('wrong')), PAYLOAD);
  await client.libc.connect(fd, peer.sockaddr);
  expect(await outcomeOf(client, fd)).toBe(111);
  await client.app.close(fd);
});

describe('the ISN in saved headers', () => {
  const tcp = Buffer.from('109200510102030400000000', 'hex');
  const ipv4 = Buffer.alloc(24);
  ipv4[0] = 0x46;
  const ipv6 = (next: number) => {
    const header = Buffer.alloc(40);
    header[0] = 0x60;
    header[6] = next;
    return header;
  };
  test.each([
    { description: 'IPv4 with options', headers: Buffer.concat([ipv4, tcp]), isn: 0x01020304 },
    { description: 'IPv6', headers: Buffer.concat([ipv6(6), tcp]), isn: 0x01020304 },
    {
      description: 'IPv6 with destination options',
      headers: Buffer.concat([ipv6(60), Buffer.from('0601000000000000'.padEnd(32, '0'), 'hex'), tcp]),
      isn: 0x01020304,
    },
    { description: 'IPv6 with something else', headers: Buffer.concat([ipv6(17), tcp]), isn: undefined },
    { description: 'cut short', headers: Buffer.concat([ipv4, tcp]).subarray(0, 30), isn: undefined },
    { description: 'nothing', headers: Buffer.alloc(0), isn: undefined },
  ])('$description', ({ headers, isn }) => {
    expect(isnOfSavedSyn(headers)).toBe(isn);
  });
});

describe('the ISN of what has arrived since', () => {
  const ISN = 0xffff_fff0;
  const sequenceAfter = (bytes: number) => (ISN + 1 + bytes) >>> 0;

  test('is told by two readings of one moment', () => {
    const counts = [10, 20, 20, 20];
    const isn = isnOfReadings(
      () => counts.shift() ?? Number.NaN,
      () => sequenceAfter(20),
    );
    expect(isn).toBe(ISN);
  });

  test('is not looked for without end where segments arrive without a pause', () => {
    let bytes = 0;
    const readings = () =>
      isnOfReadings(
        () => bytes++,
        () => sequenceAfter(bytes),
      );
    expect(readings()).toBeUndefined();
    expect(bytes).toBe(16);
  });
});
