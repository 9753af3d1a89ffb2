import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken } from '../../ts/stealth/token.ts';
import { startAcceptor } from './acceptor.ts';
import { capturing } from './capture.ts';
import { startControl } from './control.ts';
import { filtersOn } from './filters.ts';
import { inside, setSysctl } from './netns.ts';
import { type Packet, syns } from './packets.ts';
import { comparable, type Probe, sendBatch, startFlood, timestampOption } from './probes.ts';
import { type Knock, PYTHON, REPOSITORY, run, stop } from './program.ts';
import { MODES, openStealthLab, SECRET, type StealthLab } from './stealthlab.ts';

/** A SYN that somebody saw on the way, sent again (thesis section 8.2). */

const STEPS = `${REPOSITORY}/test/programs/steps.py`;
const FAMILIES = ['ipv4', 'ipv6'] as const;
type Family = (typeof FAMILIES)[number];
const KINDS = FAMILIES.flatMap((family) => MODES.map((mode) => ({ family, mode })));
const PORTS = { auth: 9301, integrity: 9302 } as const;
const LENIENT = 9303;
const LATER = 9304;
const CLOSED = 9310;
/** Another address of the client's machine, which somebody else could have. */
const ELSEWHERE = { ipv4: '192.0.2.77', ipv6: '2001:db8::77' } as const;
const PAYLOAD = Buffer.from('exactly these bytes, please, and no others').toString('hex');
/** As many tokens as there are places for. */
const REMEMBERED = 131_072;

let stealth: StealthLab;

beforeAll(async () => {
  stealth = await openStealthLab();
  const { client, server } = stealth;
  inside(client, ['ip', 'addr', 'add', `${ELSEWHERE.ipv4}/24`, 'dev', client.device]);
  inside(client, ['ip', 'addr', 'add', `${ELSEWHERE.ipv6}/64`, 'dev', client.device, 'nodad']);
  for (const family of FAMILIES) {
    const neighbour = ['ip', 'neigh', 'add', ELSEWHERE[family], 'lladdr', client.mac, 'dev', server.device];
    inside(server, neighbour);
  }
  for (const mode of MODES) await serve(PORTS[mode], stealth.knock(server, mode));
  await serve(LENIENT, stealth.knock(server), { KNOCK_REPLAY: 'allow' });
});
afterAll(() => stealth?.close());

const serve = (port: number, knock: Knock, env: Record<string, string> = {}) =>
  startAcceptor(stealth.server, '::', port, { knock, env });

type Syn = Pick<Probe, 'family' | 'destinationPort' | 'sequence' | 'options'>;

/** A SYN with the token for T. Some hash of some first bytes, for integrity: the guard can't know them. */
function synFor(family: Family, destinationPort: number, tsval: number): Syn {
  const destination = destinationOf(stealth.server.addresses[family], destinationPort);
  const hash = destinationPort === PORTS.integrity ? { integrityHash: 0x1234 } : {};
  const { isn } = computeToken({ secret: padSecret(Buffer.from(SECRET)), destination, tsval, ...hash });
  return { family, destinationPort, sequence: isn, options: tsval === 0 ? '' : timestampOption(tsval) };
}

const RANGE = { first: 20_000, last: 65_535 };
const here = (family: Family) => stealth.client.addresses[family];

/** The flags of the answer to each SYN, in order; each from a port of its own. */
async function answers(sent: readonly { syn: Syn; source: string; sourcePort: number }[]): Promise<string[]> {
  const probes = sent.map(({ syn, source, sourcePort }) => {
    return { ...syn, source, sourcePort, flags: 'S' };
  });
  return (await sendBatch(stealth.lab, probes, RANGE)).map(({ flags }) => flags);
}

let ticks = 0x10000000;
/** A T that no SYN of these tests had before. */
const freshT = () => ticks++;

describe.each(KINDS)('$family, $mode', ({ family, mode }) => {
  const source = () => here(family);

  test('a SYN comes again from the address that brought it first, and from no other', async () => {
    const syn = synFor(family, PORTS[mode], freshT());
    const other = synFor(family, PORTS[mode], freshT());
    const untimed = synFor(family, PORTS[mode], 0);
    const elsewhere = ELSEWHERE[family];
    const rows = [
      { syn, source: source(), sourcePort: 20_000, answer: 'SA' },
      { syn, source: source(), sourcePort: 20_000, answer: 'SA' },
      // A connection of the same tick, or the same SYN behind a NAT that has forgotten the port.
      { syn, source: source(), sourcePort: 20_001, answer: 'SA' },
      { syn, source: elsewhere, sourcePort: 20_000, answer: 'RA' },
      { syn, source: elsewhere, sourcePort: 20_001, answer: 'RA' },
      { syn, source: source(), sourcePort: 20_002, answer: 'SA' },
      // Whoever is quicker than the client takes its place.
      { syn: other, source: elsewhere, sourcePort: 20_003, answer: 'SA' },
      { syn: other, source: source(), sourcePort: 20_003, answer: 'RA' },
      { syn: other, source: elsewhere, sourcePort: 20_004, answer: 'SA' },
      // Without timestamps all SYNs carry the same token.
      { syn: untimed, source: source(), sourcePort: 20_005, answer: 'SA' },
      { syn: untimed, source: elsewhere, sourcePort: 20_005, answer: 'SA' },
    ];
    expect(await answers(rows)).toEqual(rows.map(({ answer }) => answer));
  });

  test("the SYN of the library's connection is refused with a closed port's bytes", async () => {
    const { lab, client } = stealth;
    const address = stealth.server.addresses[family];
    const command = [PYTHON, STEPS, 'connect', address, String(PORTS[mode]), PAYLOAD];
    const { result, packets } = await capturing(lab, () =>
      run(client, command, { knock: stealth.knock(client, mode) }),
    );
    expect(result.stdout).not.toMatch(/E[A-Z]{4}/);
    const [syn] = syns(packets) as [Packet];
    const { sequence, window, options } = syn;
    const elsewhere = syn.source === source() ? ELSEWHERE[family] : source();
    const replays = [PORTS[mode], CLOSED].flatMap((destinationPort) =>
      [20_000, syn.sourcePort].map((sourcePort) => {
        const where = { family, source: elsewhere, sourcePort, destinationPort };
        return { ...where, flags: 'S', sequence, window, options };
      }),
    );
    const refused = await sendBatch(lab, replays, RANGE);
    expect(refused.map(({ flags }) => flags)).toEqual(['RA', 'RA', 'RA', 'RA']);
    const [one, two, ...closed] = refused.map(comparable);
    expect([one, two]).toEqual(closed);
  });
});

test('KNOCK_REPLAY=allow: from anywhere', async () => {
  const syn = synFor('ipv4', LENIENT, freshT());
  const seen = await answers(
    [here('ipv4'), ELSEWHERE.ipv4].map((source) => ({ syn, source, sourcePort: 20_000 })),
  );
  expect(seen).toEqual(['SA', 'SA']);
});

test('with SYN cookies only', async () => {
  setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 2);
  const syn = synFor('ipv4', PORTS.auth, freshT());
  const seen = await answers([
    { syn, source: here('ipv4'), sourcePort: 20_000 },
    { syn, source: ELSEWHERE.ipv4, sourcePort: 20_000 },
    { syn, source: here('ipv4'), sourcePort: 20_000 },
  ]);
  setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 1);
  expect(seen).toEqual(['SA', 'RA', 'SA']);
});

test('wrong tokens push no right one out', async () => {
  const syn = synFor('ipv4', PORTS.auth, freshT());
  expect(await answers([{ syn, source: here('ipv4'), sourcePort: 20_000 }])).toEqual(['SA']);
  const received = () =>
    Number(/InSegs\s+(\d+)/.exec(inside(stealth.server, ['nstat', '-asz', 'TcpInSegs']))?.[1]);
  const before = received();
  // A burst of many, each with a T of its own.
  const wrong = Array.from({ length: 8192 }, (_, index) => {
    const { sequence = 0, ...rest } = synFor('ipv4', PORTS.auth, 1 + index);
    return {
      ...rest,
      sequence: (sequence + 1) >>> 0,
      source: here('ipv4'),
      sourcePort: 1024 + index,
      flags: 'S',
    };
  });
  const flood = await startFlood(stealth.lab, wrong);
  while (received() - before < REMEMBERED + 10_000) await new Promise((resolve) => setTimeout(resolve, 100));
  await stop(flood);
  expect(await answers([{ syn, source: ELSEWHERE.ipv4, sourcePort: 20_000 }])).toEqual(['RA']);
});

/** The server's map of tokens, by way of the control process's filter. */
function tokenMap(): number {
  const { server } = stealth;
  const egress = filtersOn(server).find(({ name }) => name === 'knock_egress');
  const { map_ids } = JSON.parse(inside(server, ['bpftool', '-j', 'prog', 'show', 'id', String(egress?.id)]));
  const named = (id: number) =>
    JSON.parse(inside(server, ['bpftool', '-j', 'map', 'show', 'id', String(id)])).name;
  return map_ids.find((id: number) => named(id).startsWith('knock_tokens'));
}

const MINUTE = 60n * 1_000_000_000n;
/** struct knock_tokens: KNOCK_WAYS, KNOCK_TOKEN_BITS; offsets, and those of struct knock_bearer. */
const WAYS = 8;
const SET_BITS = 14;
const BEARERS = 48;
const BEARER = { size: 32, since: 0, isn: 24, tsval: 28 } as const;

/** What element of the map has this token. */
function setOf({ sequence = 0 }: Syn): number {
  return sequence >>> (32 - SET_BITS);
}

/** Makes what is known of a token older. */
function age(syn: Syn, tsval: number, minutes: bigint): void {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(setOf(syn));
  const place = ['id', String(tokenMap()), 'key', ...[...key].map(String)];
  const found = inside(stealth.server, ['bpftool', '-j', 'map', 'lookup', ...place]);
  const value = Buffer.from((JSON.parse(found) as { value: string[] }).value.map(Number));
  const own = Array.from({ length: WAYS }, (_, way) => BEARERS + BEARER.size * way).filter(
    (at) =>
      value.readUInt32LE(at + BEARER.isn) === syn.sequence && value.readUInt32LE(at + BEARER.tsval) === tsval,
  );
  expect(own).toHaveLength(1);
  const since = (own[0] ?? 0) + BEARER.since;
  value.writeBigUInt64LE(BigInt.asUintN(64, value.readBigUInt64LE(since) - minutes * MINUTE), since);
  inside(stealth.server, ['bpftool', 'map', 'update', ...place, 'value', ...[...value].map(String)]);
}

test('from its own address it comes again for three minutes', async () => {
  const tsval = freshT();
  const syn = synFor('ipv4', PORTS.auth, tsval);
  const again = (sourcePort: number) => answers([{ syn, source: here('ipv4'), sourcePort }]);
  expect(await again(20_000)).toEqual(['SA']);
  age(syn, tsval, 2n);
  expect(await again(20_001)).toEqual(['SA']);
  age(syn, tsval, 1n);
  expect(await again(20_002)).toEqual(['RA']);
});

test('a listener that outlives its control process goes on, and the next one goes on with the same memory', async () => {
  const { lab, server } = stealth;
  const before = synFor('ipv4', PORTS.auth, freshT());
  const meanwhile = synFor('ipv4', PORTS.auth, freshT());
  const later = synFor('ipv4', LATER, freshT());
  const mine = here('ipv4');
  const asked = (...rows: [Syn, string][]) =>
    answers(rows.map(([syn, source]) => ({ syn, source, sourcePort: 20_000 })));
  expect(await asked([before, mine])).toEqual(['SA']);
  stealth.controls.server.program.child.kill('SIGKILL');
  await stealth.controls.server.program.ended;
  expect(await asked([before, ELSEWHERE.ipv4], [meanwhile, mine])).toEqual(['RA', 'SA']);
  const successor = await startControl(lab, server);
  const knock = { ...stealth.knock(server), control: successor.socket };
  const first = await serve(LATER, knock);
  const refused = [before, meanwhile].map((syn): [Syn, string] => [syn, ELSEWHERE.ipv4]);
  expect(await asked(...refused, [later, mine])).toEqual(['RA', 'RA', 'SA']);
  await stop(first);
  await serve(LATER, knock);
  expect(await asked([later, ELSEWHERE.ipv4])).toEqual(['RA']);
});

test('a token is forgotten when eight younger ones have the same place, and not before', async () => {
  const mine = { source: here('ipv4'), sourcePort: 20_000 };
  const first = freshT();
  const syn = synFor('ipv4', PORTS.auth, first);
  const younger: Syn[] = [];
  for (let tsval = first + 1; younger.length < WAYS; tsval++) {
    const other = synFor('ipv4', PORTS.auth, tsval);
    if (setOf(other) === setOf(syn)) younger.push(other);
  }
  const others = younger.map((other) => ({ syn: other, ...mine }));
  const replay = (again: Syn) => answers([{ syn: again, source: ELSEWHERE.ipv4, sourcePort: 20_000 }]);
  expect(await answers([{ syn, ...mine }, ...others.slice(1)])).toEqual(Array(WAYS).fill('SA'));
  expect(await replay(syn)).toEqual(['RA']);
  expect(await answers(others.slice(0, 1))).toEqual(['SA']);
  expect(await replay(syn)).toEqual(['SA']);
  // The next to go is the oldest again.
  expect(await replay(younger[2] as Syn)).toEqual(['RA']);
  expect(await replay(younger[1] as Syn)).toEqual(['SA']);
});
