import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken } from '../../ts/stealth/token.ts';
import { inside, NOBODY, setSysctl } from './netns.ts';
import { comparable, type Probe, sendBatch, startFlood, timestampOption } from './probes.ts';
import { type Program, PYTHON, REPOSITORY, start, stop, until, untilListening } from './program.ts';
import { MODES, type Mode, openStealthLab, SECRET, type StealthLab } from './stealthlab.ts';

/**
 * Whatever anybody without the token sends, a guarded port answers as a closed one does, byte for byte, or not at all
 * where that doesn't: all flags, whole and broken segments, from strangers and from addresses with authorised
 * connections, on an idle server and on one that is in trouble.
 */

const ACCEPTOR = `${REPOSITORY}/test/programs/acceptor.py`;
const STEPS = `${REPOSITORY}/test/programs/steps.py`;
const PORTS = { auth: 9201, integrity: 9202 } as const;
/** So much higher is a closed port. */
const CLOSED = 10;
const FAMILIES = ['ipv4', 'ipv6'] as const;
type Family = (typeof FAMILIES)[number];
/** The client has these as well as its own. */
const STRANGERS = { ipv4: '192.0.2.77', ipv6: '2001:db8::77' } as const;
/** Nobody's. */
const SPOOFED = { ipv4: '192.0.2.200', ipv6: '2001:db8::200' } as const;
const PAYLOAD = Buffer.from('exactly these bytes, please, and no others').toString('hex');

let stealth: StealthLab;
const servers = new Map<Mode, Program>();

beforeAll(async () => {
  stealth = await openStealthLab();
  const { client, server } = stealth;
  inside(client, ['ip', 'addr', 'add', `${STRANGERS.ipv4}/24`, 'dev', client.device]);
  inside(client, ['ip', 'addr', 'add', `${STRANGERS.ipv6}/64`, 'dev', client.device, 'nodad']);
  for (const family of FAMILIES) {
    const neighbour = (address: string, mac: string) =>
      inside(server, ['ip', 'neigh', 'add', address, 'lladdr', mac, 'dev', server.device]);
    neighbour(STRANGERS[family], client.mac);
    // Answers that wait for an unknown neighbour would use up the room that the kernel has for all its RSTs.
    neighbour(SPOOFED[family], NOBODY);
  }
  for (const mode of MODES) {
    const command = [PYTHON, '-u', ACCEPTOR, '::', String(PORTS[mode]), '1'];
    servers.set(mode, start(server, command, { knock: stealth.knock(server, mode) }));
  }
  for (const mode of MODES) await untilListening(servers.get(mode) as Program, PORTS[mode]);
});
afterAll(() => stealth?.close());

type Segment = Omit<Probe, 'family' | 'source' | 'sourcePort' | 'destinationPort'>;

const SEQUENCE = 0x11223344;
const LINUX_OPTIONS = `020405b40402${timestampOption(0x7a6b5c4d).slice(4)}01030307`;
const LONG = 'a5'.repeat(100);

/** Up to 76 bytes the kernel checks the checksum before it looks for a socket, beyond that afterwards. */
const VARIANTS: readonly (Omit<Segment, 'flags'> & { what: string })[] = [
  { what: 'bare' },
  { what: 'with ECE, CWR', sequence: SEQUENCE + 1 },
  { what: 'with options', options: LINUX_OPTIONS },
  { what: 'with data', payload: PAYLOAD },
  { what: 'with options and data', options: LINUX_OPTIONS, payload: LONG },
  { what: 'with a bad checksum', badChecksum: true },
  { what: 'with data and a bad checksum', payload: LONG, badChecksum: true },
  { what: 'with a data offset of 4', dataOffset: 4 },
  { what: 'with a data offset beyond its end', dataOffset: 15 },
  { what: 'with a data offset into its data', dataOffset: 7, payload: PAYLOAD.slice(0, 22) },
];

const SEGMENTS: readonly (Segment & { what: string })[] = Array.from({ length: 64 }, (_, bits) =>
  [...'FSRPAU'].filter((_, bit) => bits & (1 << bit)).join(''),
).flatMap((flags) =>
  VARIANTS.map(({ what, ...variant }) => ({
    what: `${flags || 'no flags'} ${what}`,
    sequence: SEQUENCE,
    acknowledgment: 0x55667788,
    ...variant,
    flags: what.includes('ECE') ? `${flags}EC` : flags,
  })),
);

const FIRST = 20_000;
const portOf = (index: number) => FIRST + index;
const RANGE = { first: FIRST, last: portOf(2 * SEGMENTS.length - 1) };

/** What is sent to a guarded port, and to the closed one that goes with it. */
interface Trial {
  readonly family: Family;
  readonly mode: Mode;
  readonly source: string;
  readonly segments: readonly (Segment & { what: string })[];
}

async function compare(trials: readonly Trial[]): Promise<void> {
  const probes = trials.flatMap(({ family, mode, source, segments }) =>
    segments.flatMap(({ what: _, ...segment }, index) =>
      [PORTS[mode], PORTS[mode] + CLOSED].map((destinationPort) => {
        return { ...segment, family, source, destinationPort, sourcePort: portOf(index) };
      }),
    ),
  );
  const packets = await sendBatch(stealth.lab, probes, RANGE);
  expect(packets.filter((packet) => packet.checksum !== 'good')).toEqual([]);
  const answers = new Map<string, string[]>();
  for (const packet of packets) {
    const key = `${packet.destination} ${packet.destinationPort} ${packet.sourcePort}`;
    answers.set(key, [...(answers.get(key) ?? []), comparable(packet)]);
  }
  for (const { mode, source, segments } of trials) {
    const table = (port: number) =>
      Object.fromEntries(
        segments.map(({ what }, index) => [what, answers.get(`${source} ${portOf(index)} ${port}`)]),
      );
    const closed = table(PORTS[mode] + CLOSED);
    expect(table(PORTS[mode]), `${mode}, from ${source}`).toEqual(closed);
    // Bad checksums and offsets, and whatever has RST, are not answered; the rest is, once.
    const answered = Object.values(closed).filter((answer) => answer?.length === 1).length;
    expect(answered / segments.length, `answered, from ${source}`).toBe((1 / 2) * (6 / VARIANTS.length));
  }
}

/** Every kind of guarded listener. */
const KINDS = FAMILIES.flatMap((family) => MODES.map((mode) => ({ family, mode })));

/** From an address that never sent a token, and from one that did, as the case may be. */
const everywhere = (): Trial[] =>
  KINDS.flatMap(({ family, mode }) =>
    [STRANGERS[family], stealth.client.addresses[family]].map((source) => {
      return { family, mode, source, segments: SEGMENTS };
    }),
  );

function connect(family: Family, mode: Mode) {
  const { client, server } = stealth;
  const command = [PYTHON, STEPS, 'connect', server.addresses[family], String(PORTS[mode]), PAYLOAD];
  return start(client, command, { knock: stealth.knock(client, mode) });
}

/** The token for T = 0, which a SYN without timestamps carries; the protected bytes' hash is none of the guard's. */
function tokenFor(family: Family, port: number): number {
  return computeToken({
    secret: padSecret(Buffer.from(SECRET)),
    destination: destinationOf(stealth.server.addresses[family], port),
    tsval: 0,
    ...(port === PORTS.integrity ? { integrityHash: 0 } : {}),
  }).isn;
}

const rightSyn = (family: Family, mode: Mode) => ({
  family,
  destinationPort: PORTS[mode],
  flags: 'S',
  sequence: tokenFor(family, PORTS[mode]),
});

test('before any authorised connection', () => compare(everywhere()));

test('from an address with authorised connections, and from another one', async () => {
  for (const { family, mode } of KINDS) {
    const outcome = await connect(family, mode).ended;
    expect(outcome).toMatchObject({ status: 0, stderr: '' });
    expect(outcome.stdout).not.toMatch(/E[A-Z]{4}/);
  }
  await compare(everywhere());
});

/** Where SYN cookies are on, the acknowledgment alone makes a connection: the guard lets that one through. */
test.each([1, 2])('from addresses and ports of authorised SYNs, with tcp_syncookies=%d', async (cookies) => {
  const { lab, client, server } = stealth;
  setSysctl(server, 'net.ipv4.tcp_syncookies', cookies);
  const trials = KINDS.map(({ family, mode }) => {
    const sequence = (tokenFor(family, PORTS[mode]) + 1) >>> 0;
    const acknowledging = SEGMENTS.map((segment) => ({
      ...segment,
      what: `next: ${segment.what}`,
      sequence,
    }));
    return { family, mode, source: client.addresses[family], segments: [...SEGMENTS, ...acknowledging] };
  });
  // The client's kernel, which knows nothing of them, resets them at once.
  const opened = await sendBatch(
    lab,
    trials.flatMap(({ family, mode, segments }) =>
      segments.map((_, index) => ({ ...rightSyn(family, mode), sourcePort: portOf(index) })),
    ),
    RANGE,
  );
  expect(opened.map(({ flags }) => flags)).toEqual(
    trials.flatMap(({ segments }) => segments.map(() => 'SA')),
  );
  await compare(trials);
  setSysctl(server, 'net.ipv4.tcp_syncookies', 1);
});

/** More SYNs than a listener remembers, from an address that answers nothing. */
async function during(flood: readonly Omit<Probe, 'sourcePort'>[], work: () => Promise<void>): Promise<void> {
  const program = await startFlood(
    stealth.lab,
    flood.flatMap((syn) =>
      Array.from({ length: 1024 }, (_, index) => ({
        ...syn,
        source: SPOOFED[syn.family],
        sourcePort: 1024 + index,
      })),
    ),
  );
  try {
    await work();
    expect(program.isRunning()).toBe(true);
  } finally {
    await stop(program);
  }
}

function cookiesSent(): number {
  const counters = inside(stealth.server, ['nstat', '-asz', 'TcpExtSyncookiesSent']);
  return Number(/SyncookiesSent\s+(\d+)/.exec(counters)?.[1]);
}

describe.each([0, 1])('in a flood, with tcp_syncookies=%d', (cookies) => {
  beforeAll(() => setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', cookies));
  afterAll(() => setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 1));

  test('of SYNs with wrong tokens', () => {
    const wrong = KINDS.map(({ family, mode }) => ({ ...rightSyn(family, mode), sequence: SEQUENCE }));
    return during(wrong, () => compare(everywhere()));
  });

  test('of SYNs with right tokens', async () => {
    const before = cookiesSent();
    const right = KINDS.map(({ family, mode }) => rightSyn(family, mode));
    await during(right, () => compare(everywhere()));
    expect(cookiesSent() > before).toBe(cookies === 1);
  });
});

/** Connections that wait to be accepted. */
function waiting(port: number): number {
  return Number(
    inside(stealth.server, ['ss', '-Hltn', `sport = :${port}`])
      .trim()
      .split(/\s+/)[1],
  );
}

test('with a full accept queue', async () => {
  for (const program of servers.values()) program.child.kill('SIGSTOP');
  const clients = MODES.flatMap((mode) => [0, 1].map(() => connect('ipv4', mode)));
  for (const mode of MODES) await until('a full accept queue', () => waiting(PORTS[mode]) > 1);
  const unanswered = await sendBatch(
    stealth.lab,
    KINDS.map(({ family, mode }) => ({ ...rightSyn(family, mode), sourcePort: FIRST })),
    RANGE,
  );
  expect(unanswered).toEqual([]);
  await compare(everywhere());
  for (const program of servers.values()) program.child.kill('SIGCONT');
  for (const client of clients) expect(await client.ended).toMatchObject({ status: 0, stderr: '' });
});
