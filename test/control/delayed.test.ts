import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  moved,
  prefix,
  type StealthConnect,
  step,
  TransitionError,
  write,
} from '../../ts/control/delayed.ts';
import { type Event, events, type State, states, transitions } from '../../ts/spec/delayedConnect.ts';

const stateNames = Object.keys(states) as State[];
const eventNames = Object.keys(events) as Event[];

const fresh: StealthConnect = {
  state: 'deferred',
  sockaddr: new Uint8Array(16),
  secret: new Uint8Array(64).fill(7),
  protectedLength: 8,
  logLevel: 1,
  bytes: new Uint8Array(),
  accepted: 0,
  announced: false,
};

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

describe('the delayed-connect state machine', () => {
  for (const state of stateNames)
    for (const event of eventNames) {
      const next = transitions[state][event];
      if (next === undefined)
        it(`${state}: '${event}' is refused, and the message names both`, () => {
          expect(() => step(state, event)).toThrow(TransitionError);
          expect(() => step(state, event)).toThrow(new RegExp(`'${event}'.*${state}`));
        });
      else
        it(`${state}: '${event}' leads to ${next}`, () => {
          expect(step(state, event)).toBe(next);
        });
    }

  it('reaches every state from idle', () => {
    const reached = new Set<State>(['idle']);
    for (const state of reached) for (const next of Object.values(transitions[state])) reached.add(next);
    expect([...reached].sort()).toEqual([...stateNames].sort());
  });
});

describe('gathering the protected bytes', () => {
  it('takes a write that is too short, and says that it was sent', () => {
    const result = write(fresh, Buffer.from('GET'));
    expect(result.kind).toBe('gathered');
    expect(result.connect).toMatchObject({ state: 'buffering', accepted: 3 });
  });

  it('is complete with exactly N bytes, of which only the earlier ones were accepted', () => {
    const first = write(fresh, Buffer.from('GET')).connect;
    const result = write(first, Buffer.from(' /index.html'));
    expect(result.kind).toBe('complete');
    expect(result.connect.state).toBe('armed');
    expect(text(result.connect.bytes)).toBe('GET /ind');
    expect(text(prefix(result.connect))).toBe('GET');
  });

  it('takes the same write again after EAGAIN', () => {
    const armed = write(write(fresh, Buffer.from('GET')).connect, Buffer.from(' /index.html')).connect;
    const pending = moved(armed, 'pending');
    const again = write(pending, Buffer.from(' /index.html'));
    expect(again.kind).toBe('retry');
    expect(text(prefix(again.connect))).toBe('GET');
    expect(moved(again.connect, 'sent').state).toBe('connected');
  });

  it('holds back a second try that is too short for the first segment', () => {
    const armed = write(write(fresh, Buffer.from('GET')).connect, Buffer.from(' /index.html')).connect;
    const part = write(moved(armed, 'pending'), Buffer.from(' /in'));
    expect(part).toMatchObject({ kind: 'gathered', connect: { state: 'armed', accepted: 7 } });
    const rest = write(part.connect, Buffer.from('dex.html'));
    expect(rest.kind).toBe('retry');
    expect(text(prefix(rest.connect))).toBe('GET /in');
  });

  it('gives up when the write after EAGAIN is another one', () => {
    const armed = write(fresh, Buffer.from('GET /index.html')).connect;
    const other = write(moved(armed, 'pending'), Buffer.from('HEAD / HTTP'));
    expect(other.kind).toBe('mismatch');
    expect(other.connect.state).toBe('failed');
  });

  it('protects the same bytes however the program cuts them', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 8, maxLength: 64 }),
        fc.integer({ min: 1, max: 8 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
        (data, protectedLength, sizes) => {
          let connect: StealthConnect = { ...fresh, protectedLength };
          let sent = 0;
          for (const size of sizes) {
            const result = write(connect, data.subarray(sent, sent + size));
            connect = result.connect;
            if (result.kind === 'complete') break;
            expect(result.kind).toBe('gathered');
            sent += size;
          }
          expect(connect.bytes).toEqual(Uint8Array.from(data.subarray(0, protectedLength)));
          expect(prefix(connect)).toEqual(Uint8Array.from(data.subarray(0, sent)));
        },
      ),
    );
  });
});
