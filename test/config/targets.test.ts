import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ALL_TARGETS, matchesDestination, matchesListener, parseTargets } from '../../ts/config/targets.ts';
import { destinationOf } from '../../ts/stealth/destination.ts';

const refuse = (why: string): never => {
  throw new RangeError(why);
};
const targets = (text: string) => parseTargets(Buffer.from(text), refuse);

/** Rows of {targets, local or destination address, port, expected}. */
type Row = [targets: string, address: string, port: number, expected: boolean];

const BOTH: Row[] = [
  ['192.0.2.1', '192.0.2.1', 1, true],
  ['192.0.2.1', '192.0.2.2', 1, false],
  ['192.0.2.1:22', '192.0.2.1', 22, true],
  ['192.0.2.1:22', '192.0.2.1', 23, false],
  ['192.0.2.0/24', '192.0.2.255', 22, true],
  ['192.0.2.0/24', '192.0.3.0', 22, false],
  ['192.0.2.77/24', '192.0.2.1', 22, true],
  ['192.0.2.0/23:22', '192.0.3.9', 22, true],
  ['192.0.2.0/23:22', '192.0.3.9', 80, false],
  ['192.0.2.128/25', '192.0.2.127', 22, false],
  ['0.0.0.0/0', '203.0.113.9', 22, true],
  ['0.0.0.0/0', '2001:db8::1', 22, false],
  ['::/0', '2001:db8::1', 22, true],
  ['::/0', '203.0.113.9', 22, false],
  [':22', '203.0.113.9', 22, true],
  [':22', '2001:db8::9', 22, true],
  [':22', '2001:db8::9', 2222, false],
  ['2001:db8::1', '2001:db8::1', 7, true],
  ['2001:db8::1:22', '2001:db8::1', 22, false],
  ['2001:db8::/32', '2001:db8:ffff::1', 7, true],
  ['2001:db8::/32', '2001:db9::1', 7, false],
  ['2001:db8::/32:443', '2001:db8::1', 443, true],
  ['2001:db8::/32:443', '2001:db8::1', 80, false],
  ['[2001:db8::1]', '2001:db8::1', 7, true],
  ['[2001:db8::1]:443', '2001:db8::1', 443, true],
  ['[2001:db8::1]:443', '2001:db8::1', 80, false],
  ['[2001:db8::/33]:443', '2001:db8:7fff::1', 443, true],
  ['[2001:db8::/33]:443', '2001:db8:8000::1', 443, false],
  ['[2001:db8::]/32:443', '2001:db8::9', 443, true],
  ['192.0.2.1:22', '::ffff:192.0.2.1', 22, true],
  ['::ffff:192.0.2.1', '192.0.2.1', 22, true],
  ['[::ffff:192.0.2.0/120]:22', '::ffff:192.0.2.9', 22, true],
  ['[::ffff:192.0.2.0/120]:22', '192.0.3.9', 22, false],
  ['192.0.2.1:22, :80 ,\t[::1]:443', '::1', 443, true],
  ['192.0.2.1:22, :80 ,\t[::1]:443', '192.0.2.1', 80, true],
  ['192.0.2.1:22, :80 ,\t[::1]:443', '192.0.2.1', 443, false],
];

const WILDCARD: Row[] = [
  ['192.0.2.1:22', '0.0.0.0', 22, true],
  ['192.0.2.1:22', '0.0.0.0', 23, false],
  ['192.0.2.1:22', '::', 22, true],
  ['192.0.2.1:22', '::ffff:0.0.0.0', 22, true],
  ['192.0.2.1', '::', 9, true],
  ['[2001:db8::1]:22', '::', 22, true],
  ['[2001:db8::1]:22', '0.0.0.0', 22, false],
  ['[2001:db8::1]:22', '::ffff:0.0.0.0', 22, false],
  ['192.0.2.1:22', '0.0.0.0', 0, true],
  ['[2001:db8::1]:22', '0.0.0.0', 0, false],
];

test.each([...BOTH, ...WILDCARD])('%s: listener on %s port %i is %s', (text, address, port, expected) => {
  expect(matchesListener(targets(text), destinationOf(address, port))).toBe(expected);
});

test.each([...BOTH, ...WILDCARD])('%s: connect to %s port %i is %s', (text, address, port, expected) => {
  expect(matchesDestination(targets(text), destinationOf(address, port))).toBe(expected);
});

test('a mapped address that the caller left at 16 bytes counts as IPv4 too', () => {
  const mapped = { address: Buffer.from('00000000000000000000ffffc0000201', 'hex'), port: 22 };
  expect(matchesDestination(targets('192.0.2.1:22'), mapped)).toBe(true);
  expect(matchesDestination(targets('::/0'), mapped)).toBe(false);
});

describe('refusals', () => {
  test.each([
    ['', 'empty'],
    [',', 'target 1: it is empty'],
    ['192.0.2.1,', 'target 2: it is empty'],
    ['example.org:22', 'numeric address'],
    ['example.org', 'numeric address'],
    ['192.0.2.1:0', 'port'],
    ['192.0.2.1:65536', 'port'],
    [`192.0.2.1:${'9'.repeat(400)}`, 'port'],
    [':', 'numeric address'],
    ['22', 'numeric address'],
    ['192.0.2.1/33', 'prefix length is not between 0 and 32'],
    ['2001:db8::/129', 'prefix length is not between 0 and 128'],
    ['192.0.2.1/', 'accepted forms'],
    ['192.0.2.1:22/24', 'numeric address'],
    ['192.0.2.1:-1', 'numeric address'],
    ['192.0.2.1:0x16', 'numeric address'],
    ['[192.0.2.1]:22', 'only an IPv6 address'],
    ['[::1', 'accepted forms'],
    ['[::1]22', 'accepted forms'],
    ['[::1/64]/64', 'accepted forms'],
    ['fe80::1%eth0', 'numeric address'],
    ['0.0.0.0:22', 'any address'],
    ['[::]:22', 'any address'],
    ['::ffff:0.0.0.0', 'any address'],
    ['::ffff:192.0.2.1/64', '96 to 128'],
    ['192.0.2.1 :22', 'numeric address'],
    ['192.0.2.1\u00a0,:22', 'target 1'],
  ])('%s', (text, why) => {
    expect(() => targets(text)).toThrow(why);
  });
});

describe('properties', () => {
  const v4 = fc
    .uint8Array({ minLength: 4, maxLength: 4 })
    .filter((bytes) => bytes.some((byte) => byte !== 0));
  const v6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((bytes) => (bytes[0] ?? 0) > 0);
  const port = fc.integer({ min: 1, max: 65535 });

  test('without KNOCK_TARGETS everything matches', () => {
    fc.assert(
      fc.property(fc.oneof(v4, v6), fc.nat(65535), (address, any) => {
        expect(matchesDestination(ALL_TARGETS, { address, port: any })).toBe(true);
        expect(matchesListener(ALL_TARGETS, { address, port: any })).toBe(true);
      }),
    );
  });

  test('an address with its own port matches, and with another one does not', () => {
    const both = fc.oneof(
      v4.map((address) => ({ address, text: address.join('.') })),
      v6.map((address) => ({
        address,
        text: `[${Buffer.from(address).toString('hex').match(/.{4}/g)?.join(':')}]`,
      })),
    );
    fc.assert(
      fc.property(both, port, port, ({ address, text }, own, other) => {
        const parsed = targets(`${text}:${own}`);
        expect(matchesDestination(parsed, { address, port: own })).toBe(true);
        expect(matchesDestination(parsed, { address, port: other })).toBe(own === other);
      }),
    );
  });

  test('a prefix decides as arithmetic on the whole address does', () => {
    const number = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
    fc.assert(
      fc.property(v4, v4, fc.nat(32), (net, address, prefix) => {
        const shift = BigInt(32 - prefix);
        const expected = number(net) >> shift === number(address) >> shift;
        expect(matchesDestination(targets(`${net.join('.')}/${prefix}`), { address, port: 1 })).toBe(
          expected,
        );
      }),
    );
  });
});
