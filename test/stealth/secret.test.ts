import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fingerprint, padSecret } from '../../ts/stealth/secret.ts';

describe('padSecret', () => {
  test('pads with zeros or cuts to 64 bytes, in a copy', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), (bytes) => {
        fc.pre(bytes.subarray(0, 64).some((byte) => byte !== 0));
        const secret = padSecret(bytes);
        expect(secret).toHaveLength(64);
        expect(secret.subarray(0, bytes.length)).toEqual(bytes.subarray(0, 64));
        expect(secret.subarray(bytes.length).every((byte) => byte === 0)).toBe(true);
        expect(secret.buffer).not.toBe(bytes.buffer);
      }),
    );
  });

  test.each([
    { description: 'an empty secret', bytes: [], why: 'empty' },
    { description: 'one zero byte', bytes: [0], why: 'zero bytes only' },
    {
      description: '64 zero bytes before anything else',
      bytes: [...new Array(64).fill(0), 1],
      why: 'zero bytes only',
    },
  ])('refuses $description', ({ bytes, why }) => {
    expect(() => padSecret(Uint8Array.from(bytes))).toThrow(why);
  });
});

describe('fingerprint', () => {
  const of = (text: string) => fingerprint(padSecret(Buffer.from(text)));

  test('is short, stable, and another one for another secret', () => {
    expect(of('one')).toMatch(/^[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}$/);
    expect(of('one')).toBe(of('one'));
    expect(of('one')).not.toBe(of('two'));
  });

  test('takes padded secrets only, so that one secret has one fingerprint', () => {
    expect(() => fingerprint(Buffer.from('one'))).toThrow('3 bytes instead of 64');
  });
});
