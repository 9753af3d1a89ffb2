import { deepStrictEqual, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { ConfigError } from '../../ts/config/error.ts';
import { POLICY_KEYS } from '../../ts/config/policy.ts';
import { readSettings } from '../../ts/config/settings.ts';
import { matchesDestination, matchesListener, parseTargets } from '../../ts/config/targets.ts';
import { decodeNote, encodeNote } from '../../ts/control/note.ts';
import type { ApplicationFile } from '../../ts/control/reading.ts';
import { Session } from '../../ts/control/session.ts';
import { parseSockaddr } from '../../ts/control/sockaddr.ts';
import { decode, encode, ProtocolError } from '../../ts/spec/codec.ts';
import { parseAddress } from '../../ts/stealth/address.ts';
import { PaperEngine } from '../control/paperEngine.ts';
import { sockaddrOf } from '../control/sockaddrs.ts';
import { scaled } from '../lab/scale.ts';
import { anyMessage, anySettings, spoilt } from './inputs.ts';

/**
 * Whatever anybody writes into a file, a variable or the control socket: an answer or an error of the kind that is
 * meant for it, never another one. A million inputs and more in `npm run fuzz`.
 */

const RUNS = scaled(2_000, 200_000);
/** Sessions are longer than a single input. */
const SESSIONS = scaled(500, 50_000);
const TIMEOUT = { timeout: 600_000 };

/** The value, or undefined after an error of this class; any other is thrown on. */
function orRefused<T>(refusal: abstract new (...args: never[]) => Error, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof refusal) return undefined;
    throw error;
  }
}

/** Some inputs must be taken, and some refused, or nothing was tried. */
function checked(
  runs: number,
  input: fc.Arbitrary<Uint8Array>,
  isTaken: (input: Uint8Array) => boolean,
): void {
  let taken = 0;
  fc.assert(
    fc.property(input, (bytes) => {
      if (isTaken(bytes)) taken++;
    }),
    { numRuns: runs },
  );
  ok(taken > runs / 100 && taken < runs, `${taken} of ${runs} inputs were taken`);
}

const anyBytes = fc.uint8Array({ maxLength: 120 });

describe('the control protocol', () => {
  test(`${RUNS} datagrams`, TIMEOUT, () => {
    checked(RUNS, spoilt(anyMessage.map(encode)), (bytes) => {
      const message = orRefused(ProtocolError, () => decode(bytes));
      if (message === undefined) return false;
      // It holds what the datagram said, and nothing else: it comes back from its own encoding.
      deepStrictEqual(decode(encode(message)), message);
      return true;
    });
  });

  test(`${SESSIONS} sessions: every descriptor is released once, and nothing is thrown`, TIMEOUT, () => {
    const around = {
      prompt: undefined,
      ownPolicy: undefined,
      secrets: undefined,
      admits: () => true,
      localAddress: () => sockaddrOf('192.0.2.9', 80),
      watch: () => () => {},
      log: { error: () => {}, info: () => {}, debug: () => {} },
    };
    // Numbers that no open descriptor of this process has.
    const descriptors = fc.array(fc.integer({ min: 100_000, max: 100_003 }), { maxLength: 4 });
    const phases = fc.constantFrom('fresh', 'deferred', 'armed', 'guarded', 'foreign');
    const steps = fc.array(fc.record({ message: anyMessage, descriptors, phase: phases }), { maxLength: 6 });
    fc.assert(
      fc.property(steps, (list) => {
        const engine = new PaperEngine();
        const released: number[] = [];
        const client = { pid: 1, uid: 0, gid: 0 };
        const readFile = ({ fd }: ApplicationFile) => {
          released.push(fd);
          return () => {};
        };
        const session = new Session(
          { engine, readFile, ...around },
          client,
          () => {},
          (fd) => released.push(fd),
        );
        for (const step of list) {
          engine.current = step.phase;
          session.receive(step.message, step.descriptors);
        }
        session.end();
        deepStrictEqual(released.toSorted(), list.flatMap((step) => step.descriptors).toSorted());
      }),
      { numRuns: SESSIONS },
    );
  });

  test(`${RUNS} socket addresses`, TIMEOUT, () => {
    const some = fc
      .constantFrom('192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1')
      .map((a) => sockaddrOf(a, 22));
    checked(RUNS, spoilt(some), (bytes) => orRefused(RangeError, () => parseSockaddr(bytes)) !== undefined);
  });

  test(`${RUNS} notes on sockets`, TIMEOUT, () => {
    const secret = fc.uint8Array({ minLength: 64, maxLength: 64 });
    const listener = fc.record({ secret, protectedLength: fc.nat(1024), allowReplay: fc.boolean() });
    fc.assert(
      fc.property(spoilt(listener.map((known) => encodeNote({ listener: known }))), (bytes) => {
        const note = decodeNote(bytes);
        deepStrictEqual(decodeNote(encodeNote(note)), { ...decodeNote(Buffer.alloc(6)), ...note });
      }),
      { numRuns: RUNS },
    );
  });
});

describe('settings', () => {
  test(`${RUNS} rc files`, TIMEOUT, () => {
    checked(RUNS, fc.oneof(anySettings('\n'), spoilt(anySettings('\n'))), (text) => {
      const read = () => readSettings({ env: new Map(), rc: { path: 'rc', text } });
      return orRefused(ConfigError, read) !== undefined;
    });
  });

  test(`${RUNS} environments`, TIMEOUT, () => {
    const value = fc.oneof(
      anyBytes,
      anySettings(','),
      fc.nat(2000).map((n) => Buffer.from(String(n))),
    );
    const names = fc.constantFrom(...POLICY_KEYS);
    fc.assert(
      fc.property(fc.array(fc.tuple(names, value), { maxLength: 3 }), (entries) => {
        orRefused(ConfigError, () => readSettings({ env: new Map(entries) }));
      }),
      { numRuns: RUNS },
    );
  });

  test(`${RUNS} lists of targets`, TIMEOUT, () => {
    const piece = fc.constantFrom(
      ...[
        '192.0.2.1',
        '2001:db8::1',
        '[',
        ']',
        '::',
        '/',
        ':',
        '.',
        ',',
        '24',
        '22',
        '65536',
        ' ',
        'ffff',
        '0',
      ],
    );
    const near = fc
      .array(piece, { minLength: 1, maxLength: 6 })
      .map((pieces) => Buffer.from(pieces.join('')));
    const refuse = (why: string): never => {
      throw new RangeError(why);
    };
    checked(RUNS, fc.oneof({ weight: 4, arbitrary: near }, { weight: 1, arbitrary: anyBytes }), (text) => {
      const targets = orRefused(RangeError, () => parseTargets(text, refuse));
      if (targets === undefined) return false;
      // What it names, it matches, whether a client or a server asks.
      for (const { net, port = 22 } of targets) {
        const destination = { address: net?.address ?? Uint8Array.of(192, 0, 2, 1), port };
        ok(matchesDestination(targets, destination));
        ok(matchesListener(targets, destination));
      }
      return true;
    });
  });

  test(`${RUNS} addresses`, TIMEOUT, () => {
    const piece = fc.constantFrom(
      ...'0123456789abcdefABCDEF:.:.:%x'.split(''),
      '::',
      '255',
      '256',
      'ffff',
      '192.0.2.1',
    );
    const near = fc
      .array(piece, { minLength: 1, maxLength: 9 })
      .map((pieces) => Buffer.from(pieces.join('')));
    checked(RUNS, near, (text) => {
      const address = parseAddress(text.toString());
      ok(address === undefined || address.length === 4 || address.length === 16);
      return address !== undefined;
    });
  });
});
