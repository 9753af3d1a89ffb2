import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken } from '../../ts/stealth/token.ts';
import { type Lab, openLab, setSysctl } from '../lab/netns.ts';
import { sendBatch } from '../lab/probes.ts';
import { startGuarded, startWorker, type Worker } from './remote.ts';

/** How the guard reads a SYN, by SYNs that no Linux client sends, against a plain reading of the same bytes. */

const secret = padSecret(Buffer.from('Magic secret string'));
const PORT = 4242;
const CLOSED = 4;
const T = 0x11223344;
const OTHER = 0x55667788;

const stamp = (tsval: number) => `080a${tsval.toString(16).padStart(8, '0')}00000000`;

let lab: Lab;
let server: Worker;

beforeAll(async () => {
  lab = openLab();
  // Room for any number of SYNs.
  setSysctl(lab.server, 'net.ipv4.tcp_syncookies', 2);
  server = await startWorker(lab.server);
  await server.app.startEngine();
  await startGuarded(server, 'ipv6', PORT, secret);
});
afterAll(async () => {
  await server?.stop();
  lab?.close();
});

/** Options as hex, and the T that the kernel would read from them. */
const LAYOUTS = [
  { description: 'none', options: '', tsval: 0 },
  { description: 'as Linux sends them', options: `020405b40402${stamp(T)}01030307`, tsval: T },
  { description: 'as Linux sends them without SACK', options: `020405b40101${stamp(T)}01030307`, tsval: T },
  { description: 'as Linux sends them without window scale', options: `020405b40402${stamp(T)}`, tsval: T },
  { description: 'almost as Linux sends them', options: `020405b40402${stamp(T)}01030201`, tsval: T },
  { description: 'timestamp first, at an odd offset', options: `01${stamp(T)}00`, tsval: T },
  { description: 'behind an unknown option', options: `fd06cafecafe${stamp(T)}`, tsval: T },
  { description: 'behind 28 bytes of padding', options: `${'01'.repeat(28)}0101${stamp(T)}`, tsval: T },
  { description: 'twice: the last counts', options: `${stamp(OTHER)}${stamp(T)}`, tsval: T },
  { description: 'behind the end of the list', options: `0000${stamp(T)}`, tsval: 0 },
  { description: 'behind an option of length 0', options: `0500${stamp(T)}`, tsval: 0 },
  { description: 'behind an option of length 1', options: `0501${stamp(T)}`, tsval: 0 },
  { description: 'of the wrong length', options: '0806112233440101', tsval: 0 },
  { description: 'running over the end', options: '0101080a11223344', tsval: 0 },
  { description: 'behind an option that runs over the end', options: `0528${stamp(T)}`, tsval: 0 },
  { description: 'its kind as the last byte', options: '01010108', tsval: 0 },
  { description: 'nothing but padding', options: '01'.repeat(40), tsval: 0 },
] as const;

const [KIND, LENGTH] = [8, 10];

/** T as RFC 9293 and RFC 7323 have it, and the kernel's own parser: what the guard must make of an option list. */
function tsvalOf(options: Buffer): number {
  let tsval = 0;
  for (let at = 0; at < options.length; ) {
    const [kind, length = 0] = [options[at], options[at + 1]];
    if (kind === 0) break;
    if (kind === 1) {
      at++;
      continue;
    }
    if (length < 2 || at + length > options.length) break;
    if (kind === KIND && length === LENGTH) tsval = options.readUInt32BE(at + 2);
    at += length;
  }
  return tsval;
}

const bytes = (hex: string) => Buffer.from(hex, 'hex');
const WORD = 4;
const MOST_OPTIONS = 40;
const padded = (options: Buffer, fill = 1) =>
  Buffer.concat([options, Buffer.alloc((WORD - (options.length % WORD)) % WORD, fill)]).subarray(
    0,
    MOST_OPTIONS,
  );

/** The options of a Linux SYN and of others, begun anywhere in the list and cut off anywhere. */
const TRUNCATED = LAYOUTS.flatMap(({ options }) =>
  [...Array(12).keys()].flatMap((shift) => {
    const whole = padded(Buffer.concat([Buffer.alloc(shift, 1), bytes(options)]));
    return Array.from({ length: whole.length / WORD }, (_, words) => whole.subarray(0, words * WORD));
  }),
);

/** Options of every length, right or wrong, with a timestamp behind them and another one inside. */
const LENGTHS = [KIND, 2, 3, 4, 5, 34, 253, 255].flatMap((kind) =>
  [...Array(48).keys(), 127, 128, 254, 255].flatMap((length) => {
    const inside = padded(bytes(`00000000${stamp(OTHER)}`)).subarray(
      0,
      Math.max(0, Math.min(length, 14) - 2),
    );
    return [
      padded(Buffer.concat([Buffer.of(kind, length), inside, bytes(stamp(T))])),
      padded(Buffer.concat([bytes(stamp(T)), Buffer.of(kind, length), inside])),
    ];
  }),
);

/** Without MD5 signatures (19) and TCP-AO (29): those the kernel judges before anybody else. */
const anyKind = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 4, 5, KIND, KIND, KIND),
  fc.nat(255).filter((kind) => kind !== 19 && kind !== 29),
);
const anyOption = fc.oneof(
  anyKind.map((kind) => Buffer.of(kind)),
  fc.tuple(anyKind, fc.nat(44)).map((head) => Buffer.from(head)),
  fc.constantFrom(bytes(stamp(T)), bytes(stamp(OTHER)), bytes('020405b4'), bytes('0402'), bytes('030307')),
);
const RANDOM = fc.sample(
  fc.tuple(fc.array(anyOption, { maxLength: 12 }), fc.constantFrom(0, 1)).map(([list, fill]) => {
    return padded(Buffer.concat(list).subarray(0, MOST_OPTIONS), fill);
  }),
  { numRuns: 1500, seed: 20_000 },
);

describe.each(['ipv4', 'ipv6'] as const)('%s', (family) => {
  const RANGE = { first: 20_000, last: 65_535 };
  const token = (tsval: number, address = lab.server.addresses[family]) =>
    computeToken({ secret, destination: destinationOf(address, PORT), tsval }).isn;

  /**
   * The answers to SYNs with these options: with the token for the right T, with that for another one, and a closed
   * port's. The kernel itself does not answer some lists that break off; then a listener may do the same.
   */
  async function answersTo(lists: readonly { options: string; tsval: number }[]): Promise<string[]> {
    const probes = lists.flatMap(({ options, tsval }, index) =>
      [
        { destinationPort: PORT, t: tsval },
        { destinationPort: PORT, t: tsval === T ? OTHER : T },
        { destinationPort: CLOSED, t: tsval },
      ].map(({ destinationPort, t }, nth) => {
        const from = { family, sourcePort: RANGE.first + 3 * index + nth, destinationPort };
        return { ...from, flags: 'S', sequence: token(t), options };
      }),
    );
    const answers = new Map<number, string>();
    for (const { destinationPort, flags } of await sendBatch(lab, probes, RANGE))
      answers.set(destinationPort, flags);
    return lists.map((_, index) =>
      [0, 1, 2].map((nth) => answers.get(RANGE.first + 3 * index + nth) ?? '-').join(' '),
    );
  }

  test('the timestamp is found where the kernel finds it', async () => {
    const answers = await answersTo(LAYOUTS);
    const table = LAYOUTS.map(({ description }, index) => [description, answers[index]]);
    expect(table).toEqual(LAYOUTS.map(({ description }) => [description, 'SA RA RA']));
    for (const { options, tsval } of LAYOUTS) expect(tsvalOf(bytes(options))).toBe(tsval);
  });

  test.each([
    { what: 'cut off anywhere', lists: TRUNCATED },
    { what: 'of every length', lists: LENGTHS },
    { what: 'at random', lists: RANDOM },
  ])('options $what', async ({ lists }) => {
    const wanted = [...new Set(lists.map((options) => options.toString('hex')))].map((options) => {
      return { options, tsval: tsvalOf(bytes(options)) };
    });
    const answers = await answersTo(wanted);
    const different = wanted
      .map((list, index) => ({ ...list, answers: answers[index] ?? '' }))
      .filter((list) => !['SA RA RA', 'SA - -', '- - -'].includes(list.answers));
    expect(different).toEqual([]);
    // With a timestamp and without: a comparison of nothing would always be right.
    for (const tsval of [0, T]) {
      const answered = wanted.filter((list, index) => list.tsval === tsval && answers[index] === 'SA RA RA');
      expect(answered.length).toBeGreaterThan(20);
    }
  });

  test('the token in a segment with other flags than SYN is no knock', async () => {
    const flags = ['SF', 'SR', 'SA', 'SFA', 'SRA'];
    const packets = await sendBatch(
      lab,
      flags.flatMap((letters, index) =>
        [PORT, CLOSED].map((destinationPort) => {
          const from = { family, sourcePort: RANGE.first + index, destinationPort };
          return { ...from, flags: letters, sequence: token(0), acknowledgment: 7 };
        }),
      ),
      RANGE,
    );
    const answersFrom = (port: number) =>
      packets
        .filter(({ sourcePort }) => sourcePort === port)
        .map((packet) => [packet.flags, packet.sequence, packet.acknowledgment]);
    expect(answersFrom(PORT)).toEqual(answersFrom(CLOSED));
    expect(answersFrom(CLOSED)).toHaveLength(3);
  });
});
