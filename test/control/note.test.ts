import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StealthConnect } from '../../ts/control/delayed.ts';
import { decodeNote, encodeNote, type Note } from '../../ts/control/note.ts';
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
  announced: true,
};
const short = { ...connect, sockaddr: new Uint8Array(16).fill(1), bytes: Uint8Array.of(1, 2), accepted: 2 };
const program = {
  secret: new Uint8Array(64).fill(7),
  protectedLength: 1024,
  payload: new Uint8Array(MAX_PROTECTED_LENGTH).fill(8),
};
const listener = {
  secret: new Uint8Array(64).fill(1),
  protectedLength: 1024,
  allowReplay: true,
  named: false,
};
const secretless = { secret: undefined, protectedLength: 7, allowReplay: false, named: true };

const notes: readonly { description: string; note: Note }[] = [
  { description: 'a connect', note: { connect } },
  { description: 'a short connect', note: { connect: short } },
  { description: 'a listener', note: { listener } },
  { description: 'a listener with named secrets', note: { listener: { ...listener, named: true } } },
  { description: 'a listener with nothing but named secrets', note: { listener: secretless } },
  { description: 'what a program asked for', note: { program } },
  { description: 'all of it', note: { program, connect, listener } },
  { description: 'nothing', note: {} },
];

describe('notes on sockets', () => {
  it.each(notes)('give back $description, and fit into their room', ({ note }) => {
    const bytes = encodeNote(note);
    expect(bytes.length).toBeLessThanOrEqual(NOTE_BYTES);
    expect(decodeNote(bytes)).toEqual({
      program: undefined,
      connect: undefined,
      listener: undefined,
      ...note,
    });
  });

  it('of another making are read without an error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        decodeNote(bytes);
      }),
    );
  });
});
