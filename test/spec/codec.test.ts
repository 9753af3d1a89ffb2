import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as keys from '../../ts/config/keys.ts';
import { POLICY_KEYS } from '../../ts/config/policy.ts';
import {
  decode,
  encode,
  layouts,
  MAX_MESSAGE_SIZE,
  type Message,
  ProtocolError,
} from '../../ts/spec/codec.ts';
import {
  DEFAULT_TIMEOUT,
  type FieldSpec,
  LONGEST_TIMEOUT,
  messages,
  settingVariables,
} from '../../ts/spec/messages.ts';

function anyValue(field: FieldSpec): fc.Arbitrary<number | Uint8Array> {
  switch (field.type) {
    case 'u8':
      return fc.integer({ min: 0, max: 0xff });
    case 'u16':
      return fc.integer({ min: 0, max: 0xffff });
    case 'u32':
      return fc.integer({ min: 0, max: 0xffff_ffff });
    case 'i32':
      return fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
    case 'bytes':
      return fc.uint8Array({ minLength: field.size, maxLength: field.size });
    case 'blob':
      return fc.uint8Array({ maxLength: field.max, size: 'medium' });
  }
}

const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  ...messages.map(
    (spec) =>
      fc.record({
        kind: fc.constant(spec.name),
        ...Object.fromEntries(spec.fields.map((field) => [field.name, anyValue(field)])),
      }) as unknown as fc.Arbitrary<Message>,
  ),
);

describe('the control protocol codec', () => {
  it('gives back every message that it encodes', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(decode(encode(message))).toEqual(message);
      }),
    );
  });

  it('answers arbitrary bytes with a message or a ProtocolError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => decode(bytes)).toThrow(ProtocolError);
      }),
    );
  });

  it('holds nothing of the buffer that a datagram came in', () => {
    const peer = new Uint8Array(28).fill(7);
    const settings = Buffer.from('KNOCK_SECRET=f:/etc/knock.key\0');
    const rc = { rc_path: Buffer.from('/root/.knockrc'), rc_error: 0 };
    const buffer = Buffer.from(encode({ kind: 'connect', settings, ...rc, peer, peer_size: 16 }));
    const message = decode(buffer);
    const before = structuredClone(message);
    buffer.fill(0);
    expect(message).toEqual(before);
  });

  it('refuses every truncation and every lengthening of a message', () => {
    const whole = encode({ kind: 'send', payload: Buffer.from('protected') });
    for (let length = 0; length < whole.length; length++)
      expect(() => decode(whole.subarray(0, length)), `${length} bytes`).toThrow(ProtocolError);
    expect(() => decode(Buffer.concat([whole, Buffer.of(0)]))).toThrow(ProtocolError);
  });

  it('refuses another protocol version, and says what to do', () => {
    const message = Buffer.from(encode({ kind: 'report', error: 0, waits: 1 }));
    message.writeUInt16LE(9, 0);
    expect(() => decode(message)).toThrow(/version 9.*one release/);
  });

  it('refuses a blob that claims more than its message holds', () => {
    const message = Buffer.from(encode({ kind: 'send', payload: Buffer.from('abc') }));
    message.writeUInt32LE(1000, 8);
    expect(() => decode(message)).toThrow(/payload: length 1000 does not fit/);
  });

  it('refuses to encode what does not fit', () => {
    expect(() => encode({ kind: 'send', payload: new Uint8Array(1025) })).toThrow(ProtocolError);
  });

  it('has distinct ids and knows its own largest message', () => {
    expect(new Set(messages.map(({ id }) => id)).size).toBe(messages.length);
    expect(MAX_MESSAGE_SIZE).toBeGreaterThan(32_768);
    expect(layouts.get('report')?.fixedSize).toBe(16);
  });

  it('hands over just the environment variables that make a policy', () => {
    expect([...settingVariables].sort()).toEqual([...POLICY_KEYS].sort());
    expect([DEFAULT_TIMEOUT, LONGEST_TIMEOUT]).toEqual([keys.DEFAULT_TIMEOUT, keys.LONGEST_TIMEOUT]);
  });
});
