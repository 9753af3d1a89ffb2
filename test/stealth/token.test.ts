import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { md5Round } from '../../ts/stealth/md5.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken, integrityHash, type TokenInput } from '../../ts/stealth/token.ts';
import { VECTORS } from './vectors.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const secrets = bytes(64).filter((secret) => secret.some((byte) => byte !== 0));
const tsvals = fc.nat(0xffffffff);
const destinations = fc.record({ address: fc.oneof(bytes(4), bytes(16)), port: fc.nat(0xffff) });

describe('computeToken: vectors', () => {
  test.each(VECTORS)('$dest port $port tsval $tsval payload $payload ($source)', (vector) => {
    const secret = padSecret(Buffer.from(vector.secret));
    const hash =
      vector.payload === undefined ? undefined : integrityHash(secret, Buffer.from(vector.payload));
    const destination = destinationOf(vector.dest, vector.port);
    const token = computeToken({ secret, destination, tsval: vector.tsval, integrityHash: hash });
    expect(token.isn).toBe(vector.isn);
    expect(token.integrityHash).toBe(hash);
  });
});

describe('computeToken: properties', () => {
  test('auth mode: the ISN is AV, an unsigned 32-bit integer', () => {
    fc.assert(
      fc.property(secrets, destinations, tsvals, (secret, destination, tsval) => {
        const token = computeToken({ secret, destination, tsval });
        expect(token).toEqual({ isn: token.isn, authenticator: token.isn, integrityHash: undefined });
        expect(token.isn).toBe(token.isn >>> 0);
      }),
    );
  });

  test('integrity mode: upper half AV, lower half IH', () => {
    fc.assert(
      fc.property(secrets, destinations, tsvals, fc.nat(0xffff), (secret, destination, tsval, hash) => {
        const token = computeToken({ secret, destination, tsval, integrityHash: hash });
        expect(token.isn & 0xffff).toBe(hash);
        expect(token.isn >>> 16).toBe(token.authenticator >>> 16);
        expect(token.isn).toBe(token.isn >>> 0);
      }),
    );
  });

  test('integrity hash 0 gives the AV of auth mode, but not its ISN', () => {
    const input = { secret: padSecret(Buffer.from('s')), destination: destinationOf('::1', 1), tsval: 7 };
    const [auth, integrity] = [computeToken(input), computeToken({ ...input, integrityHash: 0 })];
    expect(integrity.authenticator).toBe(auth.authenticator);
    expect(integrity.isn).toBe((auth.isn & 0xffff0000) >>> 0);
  });

  // 32-bit tokens may collide: of 200 flips, one collision has probability 5e-8.
  test('one bit of the secret, of TSval, of the port or of the address flips the ISN', () => {
    fc.assert(
      fc.property(secrets, destinations, tsvals, fc.nat(511), (secret, destination, tsval, bit) => {
        const isn = computeToken({ secret, destination, tsval }).isn;
        const { address, port } = destination;
        const inAddress = bit % (address.length * 8);
        const others: TokenInput[] = [
          { secret: flip(secret, bit), destination, tsval },
          { secret, destination, tsval: (tsval ^ (1 << (bit & 31))) >>> 0 },
          { secret, destination: { address, port: port ^ (1 << (bit & 15)) }, tsval },
          { secret, destination: { address: flip(address, inAddress), port }, tsval },
        ];
        for (const other of others) expect(computeToken(other).isn).not.toBe(isn);
      }),
      { numRuns: 50 },
    );
  });

  test('an IPv4 destination is 4 bytes, zero-padded; its mapped form would be another token', () => {
    const input = { secret: padSecret(Buffer.from('s')), tsval: 0 };
    const isnOf = (...address: number[]) =>
      computeToken({ ...input, destination: { address: Uint8Array.from(address), port: 22 } }).isn;
    const zeros = (count: number) => new Array<number>(count).fill(0);
    expect(isnOf(192, 0, 2, 1)).toBe(isnOf(192, 0, 2, 1, ...zeros(12)));
    expect(isnOf(192, 0, 2, 1)).not.toBe(isnOf(...zeros(10), 0xff, 0xff, 192, 0, 2, 1));
  });

  test('the inputs stay as they were', () => {
    const secret = padSecret(Buffer.from('untouched'));
    const destination = destinationOf('2001:db8::1', 443);
    const before = [secret.slice(), destination.address.slice()];
    computeToken({ secret, destination, tsval: 1, integrityHash: integrityHash(secret, Buffer.from('x')) });
    expect([secret, destination.address]).toEqual(before);
  });
});

describe('computeToken: refusals', () => {
  const good = { secret: padSecret(Buffer.from('s')), destination: destinationOf('192.0.2.1', 22), tsval: 0 };
  const address = good.destination.address;
  test.each([
    { description: 'a secret that was not padded', change: { secret: Buffer.from('s') }, names: '1 bytes' },
    { description: 'a negative TSval', change: { tsval: -1 }, names: 'TSval -1' },
    { description: 'a TSval of 33 bits', change: { tsval: 2 ** 32 }, names: 'TSval 4294967296' },
    { description: 'half a TSval', change: { tsval: 0.5 }, names: 'TSval 0.5' },
    { description: 'IH of 17 bits', change: { integrityHash: 0x10000 }, names: 'integrity hash 65536' },
    { description: 'port 65536', change: { destination: { address, port: 65536 } }, names: 'port 65536' },
    {
      description: 'a short address',
      change: { destination: { address: address.slice(1), port: 1 } },
      names: '3 bytes',
    },
  ])('$description', ({ change, names }) => {
    expect(() => computeToken({ ...good, ...change })).toThrow(names);
    expect(() => computeToken({ ...good, ...change })).toThrow(RangeError);
  });
});

describe('integrityHash', () => {
  test('is the XOR of the big-endian words of MD5(secret || payload)', () => {
    fc.assert(
      fc.property(secrets, fc.uint8Array({ maxLength: 300 }), (secret, payload) => {
        const hex = createHash('md5')
          .update(Buffer.concat([secret, payload]))
          .digest('hex');
        const words = hex.match(/.{4}/g) ?? [];
        expect(integrityHash(secret, payload)).toBe(
          words.reduce((hash, word) => hash ^ Number.parseInt(word, 16), 0),
        );
      }),
    );
  });
});

describe('md5Round', () => {
  test('chained over padded blocks it is MD5', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (message) => {
        expect(md5ByRounds(message)).toBe(createHash('md5').update(message).digest('hex'));
      }),
    );
  });

  test('refuses other sizes', () => {
    expect(() => md5Round(new Uint8Array(16), new Uint8Array(63))).toThrow(RangeError);
    expect(() => md5Round(new Uint8Array(4), new Uint8Array(64))).toThrow(RangeError);
  });
});

/** MD5 as RFC 1321 builds it from rounds: the check on the round that the published digests allow. */
function md5ByRounds(message: Uint8Array): string {
  const padded = Buffer.alloc(Math.ceil((message.length + 9) / 64) * 64);
  padded.set(message);
  padded[message.length] = 0x80;
  padded.writeUInt32LE(message.length * 8, padded.length - 8);
  let state: Uint8Array = Buffer.from('0123456789abcdeffedcba9876543210', 'hex');
  for (let offset = 0; offset < padded.length; offset += 64) {
    const next = Buffer.alloc(16);
    for (const [i, word] of md5Round(state, padded.subarray(offset, offset + 64)).entries()) {
      next.writeUInt32LE(word, i * 4);
    }
    state = next;
  }
  return Buffer.from(state).toString('hex');
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  return bytes.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
}
