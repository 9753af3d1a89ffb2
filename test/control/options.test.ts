import { beforeEach, describe, expect, it } from 'vitest';
import { readNote } from '../../ts/control/note.ts';
import { setOption } from '../../ts/control/options.ts';
import type { Verdict } from '../../ts/control/verdict.ts';
import { actions } from '../../ts/spec/messages.ts';
import { PaperEngine } from './paperEngine.ts';

const SOCKET = 1000;
const EINVAL = 22;
const EOPNOTSUPP = 95;
const [STEALTH, INTEGRITY, INTEGRITY_LEN] = [26, 27, 28] as const;

let engine: PaperEngine;
beforeEach(() => {
  engine = new PaperEngine();
});

function set(option: number, value: Uint8Array, length = value.length): Verdict {
  return setOption(engine, SOCKET, { kind: 'option', option, length, value });
}

function int(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

const secret = Buffer.from('secret');
const isDone = (verdict: Verdict) => actions.find(({ id }) => id === verdict.action)?.name === 'done';

describe('the socket options of the Knock patch', () => {
  const wrong = [
    { description: '27 before 26', before: [], option: INTEGRITY, value: secret, error: EOPNOTSUPP },
    { description: '28 before 26', before: [], option: INTEGRITY_LEN, value: int(4), error: EOPNOTSUPP },
    {
      description: 'a secret of 65 bytes',
      before: [],
      option: STEALTH,
      value: Buffer.alloc(65, 1),
      error: EINVAL,
    },
    { description: 'no secret', before: [], option: STEALTH, value: Buffer.alloc(0), error: EINVAL },
    { description: 'a secret of zeros', before: [], option: STEALTH, value: Buffer.alloc(64), error: EINVAL },
    {
      description: 'no payload',
      before: [STEALTH],
      option: INTEGRITY,
      value: Buffer.alloc(0),
      error: EINVAL,
    },
    { description: 'a length of 0', before: [STEALTH], option: INTEGRITY_LEN, value: int(0), error: EINVAL },
    {
      description: 'a length of -1',
      before: [STEALTH],
      option: INTEGRITY_LEN,
      value: int(-1),
      error: EINVAL,
    },
    {
      description: 'a length of 1025',
      before: [STEALTH],
      option: INTEGRITY_LEN,
      value: int(1025),
      error: EINVAL,
    },
    {
      description: 'half a length',
      before: [STEALTH],
      option: INTEGRITY_LEN,
      value: Buffer.alloc(2),
      error: EINVAL,
    },
  ];
  it.each(wrong)('refuse $description', ({ before, option, value, error }) => {
    for (const first of before) set(first, secret);
    expect(set(option, value).error).toBe(error);
  });

  it('refuse a payload that was too long to be handed over', () => {
    set(STEALTH, secret);
    const verdict = set(INTEGRITY, Buffer.alloc(1024, 1), 4000);
    expect(verdict.error).toBe(EINVAL);
    expect(Buffer.from(verdict.text).toString()).toMatch(/4000 bytes/);
  });

  it('are kept with the socket', () => {
    for (const verdict of [set(STEALTH, secret), set(INTEGRITY, secret), set(INTEGRITY_LEN, int(1024))])
      expect(isDone(verdict)).toBe(true);
    const { program } = readNote(engine, SOCKET);
    expect(Buffer.from(program?.secret ?? []).toString()).toBe(`secret${'\0'.repeat(58)}`);
    expect(Buffer.from(program?.payload ?? []).toString()).toBe('secret');
    expect(program?.protectedLength).toBe(1024);
  });

  it('begin anew with 26: without integrity', () => {
    set(STEALTH, secret);
    set(INTEGRITY, secret);
    set(INTEGRITY_LEN, int(4));
    set(STEALTH, Buffer.from('other'));
    expect(readNote(engine, SOCKET).program).toMatchObject({ protectedLength: 0, payload: new Uint8Array() });
  });

  it('change what a guarded listener checks, at once', () => {
    set(STEALTH, secret);
    engine.current = 'guarded';
    set(STEALTH, Buffer.from('other'));
    const verdict = set(INTEGRITY_LEN, int(4));
    expect(verdict.follow).toBe(1);
    expect(engine.calls.filter((call) => call.startsWith('guard'))).toEqual(['guard 0', 'guard 4 after 0']);
    expect(readNote(engine, SOCKET).listener?.protectedLength).toBe(4);
  });
});
