import fc from 'fast-check';
import { POLICY_KEYS } from '../../ts/config/policy.ts';
import type { Message } from '../../ts/spec/codec.ts';
import { type FieldSpec, messages } from '../../ts/spec/messages.ts';

/** Inputs that are nearly right: those get further than noise does. */

const SETTINGS = [
  'KNOCK_SECRET=x\0',
  'KNOCK_SECRET=f:/nowhere\0',
  'KNOCK_SECRET=x\0KNOCK_INTLEN=4\0',
  'KNOCK_INTLEN=x\0',
];
const ADDRESS = '020010920a000001';

function anyValue({ name, ...field }: FieldSpec): fc.Arbitrary<number | Uint8Array> {
  if (name === 'settings') return fc.constantFrom(...SETTINGS).map((text) => Buffer.from(text));
  if (name === 'peer_size') return fc.constantFrom(0, 16, 28, 29);
  switch (field.type) {
    case 'u8':
      return fc.nat(0xff);
    case 'u16':
      return fc.nat(0xffff);
    case 'u32':
      return fc.oneof(fc.nat(64), fc.integer({ min: 0, max: 0xffff_ffff }));
    case 'i32':
      return fc.oneof(fc.constant(0), fc.nat(133), fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }));
    case 'bytes':
      return fc.oneof(
        fc.constant(Buffer.from(ADDRESS.padEnd(2 * field.size, '0'), 'hex')),
        fc.uint8Array({ minLength: field.size, maxLength: field.size }),
      );
    case 'blob':
      return fc.uint8Array({ maxLength: Math.min(field.max, 64) });
  }
}

/** Messages of either side, well formed. */
export const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  ...messages.map(
    (spec) =>
      fc.record({
        kind: fc.constant(spec.name),
        ...Object.fromEntries(spec.fields.map((field) => [field.name, anyValue(field)])),
      }) as unknown as fc.Arbitrary<Message>,
  ),
);

const KEY = fc.constantFrom(...POLICY_KEYS, '#', '', 'KNOCK_FOO', 'PATH');
const VALUE = fc.constantFrom(
  ...[
    '',
    '0',
    '4',
    '1025',
    'h:',
    'h:00ff',
    'h:0',
    'f:',
    'f:/etc/knock.key',
    'x',
    ' x',
    'x ',
    'allow',
    'reject',
  ],
  ...[':22', '192.0.2.0/24:22', '[2001:db8::1]:443', '::/0', '3', '4294967296', 'ü', '=', 'a=b'],
);
const ASSIGNMENT = fc.constantFrom('=', '=', '=', '=', ' = ', '', '==');

/** Lines that look like settings, ended or separated by `end`. */
export function anySettings(end: string): fc.Arbitrary<Uint8Array> {
  const setting = fc.tuple(KEY, ASSIGNMENT, VALUE).map((parts) => parts.join(''));
  const header = fc.tuple(fc.constantFrom('[', ' [', ''), VALUE, fc.constantFrom(']', '] ', ''));
  const line = fc.oneof(
    { weight: 4, arbitrary: setting },
    header.map((parts) => parts.join('')),
  );
  return fc
    .array(line, { maxLength: 3 })
    .map((lines) => Buffer.from(lines.map((text) => text + end).join('')));
}

type Spoil = (bytes: Uint8Array) => Uint8Array;

const spoil = fc.oneof(
  fc.constant<Spoil>((bytes) => bytes),
  fc.tuple(fc.nat(400), fc.nat(255)).map(
    ([at, value]): Spoil =>
      (bytes) => {
        if (bytes.length > 0) bytes[at % bytes.length] = value;
        return bytes;
      },
  ),
  // In the head, where sizes and kinds are.
  fc.tuple(fc.nat(15), fc.constantFrom(0, 1, 2, 4, 8, 16, 127, 128, 255)).map(
    ([at, value]): Spoil =>
      (bytes) => {
        if (bytes.length > at) bytes[at] = value;
        return bytes;
      },
  ),
  fc.nat(400).map(
    (length): Spoil =>
      (bytes) =>
        bytes.subarray(0, length % (bytes.length + 1)),
  ),
  fc.uint8Array({ maxLength: 16 }).map(
    (more): Spoil =>
      (bytes) =>
        Buffer.concat([bytes, more]),
  ),
  fc.tuple(fc.nat(400), fc.nat(400)).map(
    ([at, length]): Spoil =>
      (bytes) => {
        const start = at % (bytes.length + 1);
        return Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + (length % 16))]);
      },
  ),
);

/** Bytes that were right before something happened to them, or nothing did. */
export function spoilt(right: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const changes = fc.array(spoil, { minLength: 1, maxLength: 3 });
  return fc
    .tuple(right, changes)
    .map(([bytes, list]) => list.reduce<Uint8Array>((so, change) => change(so), Uint8Array.from(bytes)));
}
