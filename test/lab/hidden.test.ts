import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken } from '../../ts/stealth/token.ts';
import { startLighttpd } from './lighttpd.ts';
import { SCANS, scan } from './nmap.ts';
import { comparable, type Probe, sendProbes, timestampOption } from './probes.ts';
import { KINDS, openStealthLab, SECRET, type StealthLab } from './stealthlab.ts';

/** A guarded port and its closed neighbour give the same answers to whatever anybody sends. */

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

describe.each(KINDS)('$family, $mode', ({ family, port }) => {
  test.each(SCANS)('nmap %s sees no difference', async (type) => {
    const [guarded, closed] = await scan(stealth.client, type, stealth.server.addresses[family], [
      port,
      port + 1,
    ]);
    expect(closed?.reason).toMatch(/^(reset|conn-refused)$/);
    expect({ ...guarded, port: 0 }).toEqual({ ...closed, port: 0 });
  });
});

const LINUX_OPTIONS = '020405b40402080a000000010000000001030307';

/** Everything that may be sent to a port, without its port. */
const PROBES: readonly (Omit<Probe, 'family' | 'sourcePort' | 'destinationPort'> & { what: string })[] = [
  ...['S', 'SPU', 'SE', 'SEC', 'FS', 'FSPU', 'SR', 'SA', 'SRA', 'FSA'].map((flags) => ({
    what: flags,
    flags,
    sequence: 0x11223344,
    acknowledgment: 0x55667788,
  })),
  ...[
    '',
    'F',
    'P',
    'U',
    'FPU',
    'PU',
    'A',
    'FA',
    'PA',
    'FPUA',
    'AU',
    'R',
    'RA',
    'E',
    'C',
    'AEC',
    'FSRPAUEC',
  ].map((flags) => ({ what: flags || 'no flags', flags, sequence: 0x11223344, acknowledgment: 0x55667788 })),
  { what: 'SYN with options', flags: 'S', sequence: 7, options: LINUX_OPTIONS },
  { what: 'SYN with an MSS only', flags: 'S', sequence: 7, options: '020405b4' },
  { what: 'SYN with data', flags: 'S', sequence: 7, payload: '00'.repeat(32) },
  {
    what: 'SYN with options and data',
    flags: 'S',
    sequence: 7,
    options: LINUX_OPTIONS,
    payload: '01'.repeat(100),
  },
  { what: 'SYN with a Fast Open cookie request', flags: 'S', sequence: 7, options: '22020101' },
  {
    what: 'SYN with a Fast Open cookie',
    flags: 'S',
    sequence: 7,
    options: '220a01020304050607080101',
    payload: '61',
  },
  { what: 'SYN with an option of no length', flags: 'S', sequence: 7, options: '08000000' },
  { what: 'SYN with an option beyond the header', flags: 'S', sequence: 7, options: '0101080a' },
  { what: 'SYN with unknown options', flags: 'S', sequence: 7, options: 'fd04abcdfe020101' },
  { what: 'SYN of window 0', flags: 'S', sequence: 7, window: 0 },
  { what: 'SYN of ISN 0', flags: 'S', sequence: 0 },
  { what: 'SYN of the highest ISN', flags: 'S', sequence: 0xffffffff },
  { what: 'ACK with data', flags: 'PA', sequence: 8, acknowledgment: 9, payload: '474554202f' },
  {
    what: 'ACK with a timestamp',
    flags: 'A',
    sequence: 8,
    acknowledgment: 9,
    options: timestampOption(1, 2),
  },
  { what: 'FIN with data', flags: 'FA', sequence: 8, acknowledgment: 9, payload: '00' },
  { what: 'data without flags', flags: '', sequence: 8, payload: 'ff'.repeat(9) },
];

describe.each(KINDS.filter(({ family }) => family !== 'mapped'))('$family, $mode', ({ family, port }) => {
  if (family === 'mapped') return;

  test('every probe gets the bytes of a closed port', async () => {
    const sourcePorts = PROBES.map((_, index) => 20_000 + index);
    const packets = await sendProbes(
      stealth.lab,
      PROBES.flatMap((probe, index) =>
        [port, port + 1].map((destinationPort) => ({
          ...probe,
          family,
          destinationPort,
          sourcePort: sourcePorts[index] ?? 0,
        })),
      ),
    );
    expect(packets.filter((packet) => packet.checksum !== 'good')).toEqual([]);
    const answers = (sourcePort: number, from: number) =>
      packets
        .filter((packet) => packet.destinationPort === sourcePort && packet.sourcePort === from)
        .map(comparable);
    const table = (from: number) =>
      Object.fromEntries(PROBES.map(({ what }, index) => [what, answers(sourcePorts[index] ?? 0, from)]));
    expect(table(port)).toEqual(table(port + 1));
    expect(
      packets.filter((packet) => packet.flags.includes('R') && packet.sourcePort === port).length,
    ).toBeGreaterThan(PROBES.length / 2);
  });
});

/** Tokens by hand: which SYN a guard lets through. */
describe.each(KINDS.filter(({ family, mode }) => family !== 'mapped' && mode === 'auth'))(
  '$family, a SYN by hand',
  ({ family, port }) => {
    if (family === 'mapped') return;
    const T = 0x7a6b5c4d;
    const isnFor = (tsval: number, toPort = port) =>
      computeToken({
        secret: padSecret(Buffer.from(SECRET)),
        destination: destinationOf(stealth.server.addresses[family], toPort),
        tsval,
      }).isn;

    test.each([
      { what: 'the token for its TSval', isn: () => isnFor(T), options: timestampOption(T), answer: 'SA' },
      { what: 'the token for T = 0, no timestamp', isn: () => isnFor(0), options: '', answer: 'SA' },
      {
        what: 'the timestamp first',
        isn: () => isnFor(T),
        options: `${timestampOption(T).slice(4)}0101`,
        answer: 'SA',
      },
      {
        what: 'the timestamp last',
        isn: () => isnFor(T),
        options: `020405b40402${timestampOption(T).slice(4)}`,
        answer: 'SA',
      },
      {
        what: 'the timestamp at the end of forty option bytes',
        isn: () => isnFor(T),
        options: `${'01'.repeat(30)}${timestampOption(T).slice(4)}`,
        answer: 'SA',
      },
      {
        what: 'the token for TSval + 1',
        isn: () => isnFor(T + 1),
        options: timestampOption(T),
        answer: 'RA',
      },
      {
        what: 'the token for T = 0 and a timestamp',
        isn: () => isnFor(0),
        options: timestampOption(T),
        answer: 'RA',
      },
      { what: 'the token for a TSval and no timestamp', isn: () => isnFor(T), options: '', answer: 'RA' },
      {
        what: 'the token for another port',
        isn: () => isnFor(T, port + 1),
        options: timestampOption(T),
        answer: 'RA',
      },
      {
        what: 'the token plus one',
        isn: () => (isnFor(T) + 1) >>> 0,
        options: timestampOption(T),
        answer: 'RA',
      },
      {
        what: 'the token in the other byte order',
        isn: () => Buffer.from(isnFor(T).toString(16).padStart(8, '0'), 'hex').readUInt32LE(),
        options: timestampOption(T),
        answer: 'RA',
      },
    ])('with $what: $answer', async ({ isn, options, answer }) => {
      const packets = await sendProbes(stealth.lab, [
        { family, sourcePort: 21_000, destinationPort: port, flags: 'S', sequence: isn(), options },
      ]);
      expect(packets[1]).toMatchObject({ flags: answer, acknowledgment: (isn() + 1) >>> 0 });
    });
  },
);
