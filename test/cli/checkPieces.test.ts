import { describe, expect, test } from 'vitest';
import { type Arrival, answer, greet, LONGEST_LINE, understand } from '../../ts/cli/check/exchange.ts';
import { compare, type Departure } from '../../ts/cli/check/path.ts';
import { readSavedSyn } from '../../ts/cli/check/savedSyn.ts';
import { judge, STATUS } from '../../ts/cli/check/verdict.ts';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken } from '../../ts/stealth/token.ts';

const SECRET = padSecret(Buffer.from('Magic secret string'));
const OTHER = padSecret(Buffer.from('another'));

const ARRIVAL: Arrival = {
  ...{ source: '192.0.2.1', sourcePort: 40000, destination: '192.0.2.2', destinationPort: 22 },
  ...{ isn: 0x11223344, tsval: 0xffffffff },
};

describe('what the two ends say to each other', () => {
  const { line, nonce } = greet(SECRET);
  const asked = line.trimEnd();
  const reply = answer(SECRET, asked, () => ARRIVAL).trimEnd();

  test('is understood, and fits', () => {
    expect(understand(SECRET, nonce, reply)).toEqual({ kind: 'report', arrival: ARRIVAL });
    expect(line.length).toBeLessThan(LONGEST_LINE);
  });

  test('tells nobody anything without the secret', () => {
    let told = false;
    for (const strange of [
      greet(OTHER).line.trimEnd(),
      asked.replace(/.$/, ''),
      asked.replace(/.$/, 'x'),
      '',
      'GET /',
    ])
      expect(
        answer(SECRET, strange, () => {
          told = true;
          return ARRIVAL;
        }),
      ).toBe('knockify-check 1 refused\n');
    expect(told).toBe(false);
  });

  test.each([
    ['another secret', understand(OTHER, nonce, reply)],
    ['an answer to somebody else', understand(SECRET, greet(SECRET).nonce, reply)],
    ['an answer that was changed', understand(SECRET, nonce, reply.replace('192.0.2.2', '192.0.2.3'))],
    ['a refusal', understand(SECRET, nonce, 'knockify-check 1 refused')],
    ["one's own words", understand(SECRET, nonce, asked.replace(/(\w+) (\w+)$/, '$2 $1'))],
  ])('does not believe %s', (_, understood) => {
    expect(understood).toEqual({ kind: 'refused' });
  });

  test('knows something else by its words, and a SYN that was not kept', () => {
    expect(understand(SECRET, nonce, 'SSH-2.0-OpenSSH_9.2')).toEqual({ kind: 'foreign' });
    expect(understand(SECRET, nonce, answer(SECRET, asked, () => undefined).trimEnd())).toEqual({
      kind: 'no SYN',
    });
  });
});

describe('the comparison', () => {
  const T = 5000;
  const departure: Departure = {
    ...{ secret: SECRET, address: '192.0.2.2', port: 22, timestamps: true },
    // The clock has gone on since.
    ...{ tsval: T + 300, elapsed: 400 },
  };
  const token = (tsval: number) =>
    computeToken({ secret: SECRET, destination: destinationOf('192.0.2.2', 22), tsval }).isn;
  const { tsval: _, ...without } = ARRIVAL;
  const arrived = { ...ARRIVAL, isn: token(T), tsval: T };

  test.each([
    ['nothing', arrived, [], { isn: token(T), tsval: T }],
    ['the ISN', { ...arrived, isn: 1 }, ['sequence number rewritten'], { isn: token(T), tsval: T }],
    ['the timestamp', { ...arrived, tsval: 77 }, ['timestamp rewritten'], { isn: token(T), tsval: T }],
    [
      'the timestamp by little',
      { ...arrived, tsval: T + 1 },
      ['timestamp rewritten'],
      { isn: token(T), tsval: T },
    ],
    ['options', { ...without, isn: token(T) }, ['timestamp removed'], { isn: token(T), tsval: T }],
    ['both', { ...arrived, isn: 1, tsval: 77 }, ['sequence number rewritten', 'timestamp rewritten'], {}],
    [
      'address and port',
      { ...arrived, destination: '10.0.0.1', destinationPort: 2222 },
      ['destination address translated', 'destination port translated'],
      { isn: token(T), tsval: T },
    ],
    [
      'address and ISN',
      { ...arrived, destination: '10.0.0.1', isn: 1 },
      ['destination address translated', 'sequence number rewritten'],
      { isn: token(T), tsval: T },
    ],
    [
      'only how the address is written',
      { ...arrived, destination: '::ffff:192.0.2.2' },
      [],
      { isn: token(T), tsval: T },
    ],
  ])('finds that %s changed', (_what, arrival, changes, sent) => {
    expect(compare(departure, arrival)).toEqual({ changes, sent });
  });

  test('knows T also where the clock has just begun again', () => {
    const late = (2 ** 32 - 100) >>> 0;
    const around = { ...arrived, isn: token(late), tsval: 77 };
    expect(compare({ ...departure, tsval: 200 }, around)).toMatchObject({
      changes: ['timestamp rewritten'],
      sent: { tsval: late },
    });
  });

  test.each([
    ['nothing', { ...without, isn: token(0) }, []],
    ['the ISN', { ...without, isn: 1 }, ['sequence number rewritten']],
    ['options', { ...arrived, isn: token(0) }, ['timestamp added']],
  ])('finds without timestamps that %s changed', (_what, arrival, changes) => {
    const result = compare({ ...departure, timestamps: false }, arrival);
    expect(result).toEqual({ changes, sent: { isn: token(0), tsval: null } });
  });
});

describe('a saved SYN', () => {
  const options = '020405b40402080a000102030000000001030307';
  const tcp = `9c400016${'11223344'}${'00000000'}a002faf0${'00000000'}${options}`;
  const ipv4 = `4500003c${'00000000'}40060000${'c0000201'}c0000202`;
  const addresses = `20010db8${'0'.repeat(23)}1${'20010db8'}${'0'.repeat(23)}2`;

  test('over IPv4', () => {
    expect(readSavedSyn(Buffer.from(ipv4 + tcp, 'hex'))).toEqual({ ...ARRIVAL, tsval: 0x00010203 });
  });

  test.each([
    ['', `6000000000${'28'}0640${addresses}`],
    ['with options before TCP', `6000000000${'30'}0040${addresses}0600010400000000`],
  ])('over IPv6 %s', (_, header) => {
    const syn = readSavedSyn(Buffer.from(header + tcp, 'hex'));
    expect(syn).toMatchObject({
      source: '2001:db8::1',
      destination: '2001:db8::2',
      isn: 0x11223344,
      tsval: 0x00010203,
    });
  });

  test('without timestamps', () => {
    const bare = tcp.replace('a002', '5002').slice(0, 40);
    expect(readSavedSyn(Buffer.from(ipv4 + bare, 'hex'))).not.toHaveProperty('tsval');
  });

  test.each(['', '45', ipv4, '60'.padEnd(80, '0')])('is not there: %s', (hex) => {
    expect(readSavedSyn(Buffer.from(hex, 'hex'))).toBeUndefined();
  });
});

test('every pair of answers has its verdict', () => {
  const answers = ['open', 'closed', 'filtered', 'unreachable', 'reset'] as const;
  const statuses = answers.map((plain) =>
    answers.map((stealth) => {
      const outcome = (answer: (typeof answers)[number]) => ({ answer, code: undefined });
      const tried = {
        plain: outcome(plain),
        stealth: outcome(stealth),
        protectedLength: 0,
        fingerprint: undefined,
      };
      return judge(tried).status;
    }),
  );
  const { good, untold, open, shut } = STATUS;
  expect(statuses).toEqual([
    [open, open, open, untold, open],
    [good, shut, shut, untold, shut],
    [good, shut, shut, untold, shut],
    [untold, untold, untold, untold, untold],
    [open, open, open, untold, open],
  ]);
});
