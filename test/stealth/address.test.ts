import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAddress, unmapped } from '../../ts/stealth/address.ts';
import { destinationOf } from '../../ts/stealth/destination.ts';

const hex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex');

describe('parseAddress', () => {
  test.each([
    ['192.18.42.42', 'c0122a2a'],
    ['0.0.0.0', '00000000'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['1::', '00010000000000000000000000000000'],
    ['2001:DB8::2a:2A', '20010db80000000000000000002a002a'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['1:2:3:4:5:6:7::', '00010002000300040005000600070000'],
    ['::ffff:127.0.0.1', '00000000000000000000ffff7f000001'],
    ['64:ff9b::192.0.2.1', '0064ff9b0000000000000000c0000201'],
  ])('%s', (text, expected) => {
    expect(hex(parseAddress(text))).toBe(expected);
  });

  test.each([
    '',
    'localhost',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    '1.2.3.4 ',
    '0x7f.0.0.1',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '12345::',
    'g::',
    '1.2.3.4::',
    '::1.2.3.4:5',
    'fe80::1%lo',
    '[::1]',
    ':1::',
    '1:',
  ])('refuses %j', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  test('accepts what Node accepts, zone indices apart', () => {
    const pieces = fc.array(
      fc.constantFrom(':', '::', '.', '0', '1', 'ffff', 'A9', '255', '256', '1.2.3.4'),
      { maxLength: 16 },
    );
    const texts = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      pieces.map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        expect(parseAddress(text)?.length).toBe(isIPv4(text) ? 4 : isIPv6(text) ? 16 : undefined);
      }),
      { numRuns: 2000 },
    );
  });

  test('reads back the eight words that were written', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const words = Buffer.from(bytes).toString('hex').match(/.{4}/g) ?? [];
        expect(hex(parseAddress(words.join(':')))).toBe(words.join(''));
      }),
    );
  });
});

describe('destinationOf', () => {
  test('gives an IPv4-mapped address as its 4 bytes', () => {
    expect(destinationOf('::ffff:192.0.2.1', 22)).toEqual(destinationOf('192.0.2.1', 22));
    expect(hex(unmapped(destinationOf('::1:ffff:192.0.2.1', 22).address))).toHaveLength(32);
  });

  test.each([
    { address: 'example.org', port: 22, names: '"example.org"' },
    { address: '192.0.2.1', port: 65536, names: '65536' },
    { address: '192.0.2.1', port: -1, names: '-1' },
    { address: '192.0.2.1', port: Number.NaN, names: 'NaN' },
  ])('refuses $address port $port, and names it', ({ address, port, names }) => {
    expect(() => destinationOf(address, port)).toThrow(names);
    expect(() => destinationOf(address, port)).toThrow(RangeError);
  });
});
