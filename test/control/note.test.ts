import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StealthConnect } from '../../ts/control/delayed.ts';
import { decodeConnect, decodeListener, encodeConnect, encodeListener } from '../../ts/control/note.ts';
import { NOTE_BYTES } from '../../ts/engine/engine.ts';
import { MAX_PROTECTED_LENGTH, SOCKADDR_SIZE } from '../../ts/spec/messages.ts';

const connect: StealthConnect = {
  state: 'armed',
  sockaddr: new Uint8Array(SOCKADDR_SIZE).fill(3),
  secret: new Uint8Array(64).fill(9),
  protectedLength: MAX_PROTECTED_LENGTH,
  logLevel: 3,
  bytes: new Uint8Array(MAX_PROTECTED_LENGTH).fill(5),
  accepted: 1000,
};

describe('notes on sockets', () => {
  it('give back a connect, the longest included, and fit into their room', () => {
    const note = encodeConnect(connect);
    expect(note.length).toBeLessThanOrEqual(NOTE_BYTES);
    expect(decodeConnect(note)).toEqual(connect);
    const short = {
      ...connect,
      sockaddr: new Uint8Array(16).fill(1),
      bytes: Uint8Array.of(1, 2),
      accepted: 2,
    };
    expect(decodeConnect(encodeConnect(short))).toEqual(short);
  });

  it('give back a listener', () => {
    const protection = { secret: new Uint8Array(64).fill(1), protectedLength: 1024 };
    expect(decodeListener(encodeListener(protection))).toEqual(protection);
  });

  it('are not mistaken for each other', () => {
    expect(decodeListener(encodeConnect(connect))).toBeUndefined();
    expect(decodeConnect(encodeListener({ secret: new Uint8Array(64), protectedLength: 1 }))).toBeUndefined();
  });

  it('of another making are not read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (note) => {
        expect(decodeConnect(note)).toBeUndefined();
      }),
    );
  });
});
