import { expect, test } from 'vitest';
import { secretBytes } from '../../ts/api/secret.ts';
import { padSecret } from '../../ts/stealth/secret.ts';

test.each([
  { form: 'bytes', secret: Uint8Array.of(0x73, 0xc3, 0xa9, 0x63) },
  { form: 'text', secret: 'séc' },
  { form: 'hex', secret: { hex: '73C3a963' } },
])('the secret as $form', ({ secret }) => {
  expect(secretBytes(secret)).toEqual(padSecret(Buffer.from('séc')));
});

test('bytes behind the 64th do not count', () => {
  expect(secretBytes('x'.repeat(65))).toEqual(secretBytes({ hex: '78'.repeat(64) }));
});

test.each([
  { secret: '', message: 'empty' },
  { secret: new Uint8Array(3), message: 'zero bytes' },
  { secret: { hex: '' }, message: 'secret.hex' },
  { secret: { hex: 'f00' }, message: 'secret.hex' },
  { secret: { hex: 'no hex' }, message: 'secret.hex' },
  { secret: 'h:c0ffee', message: '{ hex }' },
  { secret: 'f:/etc/knock.key', message: 'bytes of the file' },
])('$secret is refused', ({ secret, message }) => {
  expect(() => secretBytes(secret)).toThrow(RangeError);
  expect(() => secretBytes(secret)).toThrow(message);
});
