import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseTargets } from '../../ts/config/targets.ts';
import type { Log } from '../../ts/control/log.ts';
import { Reading } from '../../ts/control/reading.ts';
import { Session } from '../../ts/control/session.ts';
import type { Verdict } from '../../ts/control/verdict.ts';
import { EngineError, type Inspection } from '../../ts/engine/engine.ts';
import type { Message } from '../../ts/spec/codec.ts';
import { actions } from '../../ts/spec/messages.ts';
import { SysError } from '../../ts/sys/error.ts';
import { PaperEngine } from './paperEngine.ts';
import { sockaddrOf } from './sockaddrs.ts';

const SOCKET = 1000;
const LISTENER = 1001;
const EPROTONOSUPPORT = 93;
const EINPROGRESS = 115;
const ECONNREFUSED = 111;

const admits = () => true;
const silent: Log = { error: () => {}, info: () => {}, debug: () => {} };
const client = { pid: 4242, uid: process.getuid?.() ?? 0, gid: 0 };

let engine: PaperEngine;
let released: number[];
let late: Verdict[];
let readable: (() => void) | undefined;
let scratch: string;
beforeEach(() => {
  engine = new PaperEngine();
  released = [];
  late = [];
  readable = undefined;
  scratch = mkdtempSync(join(tmpdir(), 'knockify-session-'));
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

function session(ownSecret?: string): Session {
  const ownPolicy =
    ownSecret === undefined
      ? undefined
      : {
          secret: Buffer.concat([Buffer.from(ownSecret), Buffer.alloc(64)]).subarray(0, 64),
          protectedLength: 0,
          replay: 'reject' as const,
          targets: parseTargets(Buffer.from('192.0.2.0/24'), (why) => {
            throw new Error(why);
          }),
          logLevel: 1 as const,
        };
  const local = sockaddrOf('192.0.2.9', 80);
  const watch = (_fd: number, callback: () => void) => {
    readable = callback;
    return () => {
      readable = undefined;
    };
  };
  const reading = new Reading();
  const readFile = reading.read.bind(reading);
  return new Session(
    {
      engine,
      prompt: undefined,
      ownPolicy,
      secrets: undefined,
      admits,
      localAddress: () => local,
      watch,
      readFile,
      log: silent,
    },
    client,
    (verdict) => late.push(verdict),
    (fd) => released.push(fd),
  );
}

function settings(values: Record<string, string>): Uint8Array {
  return Buffer.from(
    Object.entries(values)
      .map(([key, value]) => `${key}=${value}\0`)
      .join(''),
  );
}

function connectTo(
  address: string,
  values: Record<string, string>,
  extra: Partial<Message<'connect'>> = {},
): Message {
  const sockaddr = sockaddrOf(address, 4242);
  const peer = new Uint8Array(28);
  peer.set(sockaddr);
  const rc = { rc_path: new Uint8Array(), rc_error: 0 };
  return { kind: 'connect', settings: settings(values), ...rc, peer, peer_size: sockaddr.length, ...extra };
}

function report(error: number): Message {
  return { kind: 'report', error, waits: 1 };
}

function listenWith(values: Record<string, string>): Message {
  return { kind: 'listen', settings: settings(values), rc_path: new Uint8Array(), rc_error: 0 };
}

const actionOf = (verdict: Verdict | undefined) => actions.find(({ id }) => id === verdict?.action)?.name;
const textOf = (verdict: Verdict | undefined) => Buffer.from(verdict?.text ?? []).toString();

/** The verdict that comes once the file is read. */
async function lateVerdict(now: Verdict | undefined): Promise<Verdict | undefined> {
  expect(now).toBeUndefined();
  await vi.waitUntil(() => late.length > 0);
  return late.shift();
}

describe('a connect without integrity', () => {
  it('is armed with the secret of the application, then reported', () => {
    const one = session();
    const verdict = one.receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'mine', KNOCK_LOGLVL: '3' }), [
      SOCKET,
    ]);
    expect(actionOf(verdict)).toBe('proceed');
    expect(verdict?.log_level).toBe(3);
    expect(actionOf(one.receive(report(0), []))).toBe('pass');
    expect(engine.calls).toEqual(['arm 4242 mine -', 'settle']);
    one.end();
    expect(released).toEqual([SOCKET]);
  });

  it('that is refused by the peer is not blamed on stealth', () => {
    const one = session();
    one.receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'mine' }), [SOCKET]);
    expect(actionOf(one.receive(report(ECONNREFUSED), []))).toBe('pass');
  });

  it('whose SYN was held back is blamed on stealth, and the socket is taken back', () => {
    const one = session();
    one.receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'mine' }), [SOCKET]);
    engine.heldBack = 'the timestamp offset was another one';
    const verdict = one.receive(report(110), []);
    expect(actionOf(verdict)).toBe('refuse');
    expect(textOf(verdict)).toContain('the timestamp offset');
    expect(engine.calls).toContain('release');
  });

  const phases = [
    { phase: 'foreign', action: 'pass', armed: false },
    { phase: 'guarded', action: 'pass', armed: false },
    { phase: 'deferred', action: 'pass', armed: false },
    { phase: 'armed', action: 'proceed', armed: true },
    { phase: 'fresh', action: 'proceed', armed: true },
  ] as const;
  for (const { phase, action, armed } of phases)
    it(`of a socket that is ${phase}: ${action}`, () => {
      engine.current = phase;
      expect(actionOf(session().receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'x' }), [SOCKET]))).toBe(
        action,
      );
      expect(engine.calls.some((call) => call.startsWith('arm'))).toBe(armed);
    });

  it('outside KNOCK_TARGETS is left alone', () => {
    const verdict = session().receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'x', KNOCK_TARGETS: ':22' }), [
      SOCKET,
    ]);
    expect(actionOf(verdict)).toBe('pass');
    expect(engine.calls).toEqual([]);
  });

  it("takes the control process's secret and targets where the application brings no secret", () => {
    expect(actionOf(session('lent').receive(connectTo('192.0.2.1', {}), [SOCKET]))).toBe('proceed');
    expect(engine.calls).toEqual(['arm 4242 lent -']);
    engine.current = 'fresh';
    expect(actionOf(session('lent').receive(connectTo('198.51.100.1', {}), [SOCKET]))).toBe('pass');
  });
});

describe('a connect that was answered promptly', () => {
  const answered = { socket: SOCKET, isn: 1, logLevel: 2 };

  it('is reported like any other, and its socket is let go of', () => {
    const one = session();
    one.adopt(answered, false);
    const verdict = one.receive(report(ECONNREFUSED), []);
    expect(actionOf(verdict)).toBe('pass');
    expect(verdict?.log_level).toBe(2);
    expect(engine.calls).toEqual(['settle']);
    expect({ released, over: one.over }).toEqual({ released: [SOCKET], over: true });
  });

  it('is taken back at once when it is overdue and was held back', () => {
    engine.heldBack = 'the timestamp offset was another one';
    engine.current = 'armed';
    const one = session();
    one.adopt(answered, true);
    expect(engine.calls).toEqual(['settle', 'release']);
  });
});

describe('a report that nobody waits for', () => {
  it('has no answer, and ends the session', () => {
    const one = session();
    one.receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'mine' }), [SOCKET]);
    expect(one.over).toBe(false);
    expect(one.receive({ kind: 'report', error: 0, waits: 0 }, [])).toBeUndefined();
    expect({ released, over: one.over }).toEqual({ released: [SOCKET], over: true });
  });
});

describe('a connect with integrity', () => {
  const values = { KNOCK_SECRET: 'mine', KNOCK_INTLEN: '8' };

  function deferred(): void {
    expect(actionOf(session().receive(connectTo('192.0.2.1', values), [SOCKET]))).toBe('deferred');
  }

  const send = (payload: string) => {
    const one = session();
    return { one, verdict: one.receive({ kind: 'send', payload: Buffer.from(payload) }, [SOCKET]) };
  };

  it('gathers over several sessions, then arms and hands the gathered bytes back', () => {
    deferred();
    expect(actionOf(send('GET').verdict)).toBe('gathered');
    const { one, verdict } = send(' /index.html');
    expect(actionOf(verdict)).toBe('proceed');
    expect(Buffer.from(verdict?.prefix ?? []).toString()).toBe('GET');
    expect(verdict?.peer.subarray(0, verdict.peer_size)).toEqual(sockaddrOf('192.0.2.1', 4242));
    one.receive(report(0), []);
    expect(engine.calls).toEqual(['defer', 'note', 'note', 'arm 4242 mine GET /ind', 'note', 'settle']);
    expect(engine.notes.size).toBe(0);
  });

  it('tells who asks by writing nothing where it leads and what was gathered', () => {
    deferred();
    send('GET');
    const { verdict } = send('');
    expect(actionOf(verdict)).toBe('gathered');
    expect(Buffer.from(verdict?.prefix ?? []).toString()).toBe('GET');
    expect(verdict?.peer.subarray(0, verdict.peer_size)).toEqual(sockaddrOf('192.0.2.1', 4242));
    expect(engine.calls).toEqual(['defer', 'note', 'note']);
  });

  it('still knows the bytes when the connect is in progress and the write comes again', () => {
    deferred();
    const { one } = send('GET /index.html');
    one.receive(report(EINPROGRESS), []);
    engine.current = 'foreign';
    const again = send('GET /index.html');
    expect(actionOf(again.verdict)).toBe('flush');
    again.one.receive(report(0), []);
    expect(engine.notes.size).toBe(0);
  });

  it('is armed anew when the SYN could not leave', () => {
    deferred();
    send('GET /index.html').one.end();
    const again = send('GET /index.html');
    expect(actionOf(again.verdict)).toBe('proceed');
    expect(engine.calls.filter((call) => call.startsWith('arm'))).toHaveLength(2);
  });

  it('gives up when the second try brings other bytes', () => {
    deferred();
    send('GET /index.html').one.receive(report(EINPROGRESS), []);
    const { verdict } = send('something else');
    expect(actionOf(verdict)).toBe('refuse');
    expect(textOf(verdict)).toMatch(/did not repeat/);
    expect(engine.calls.at(-1)).toBe('release');
  });

  it('is left to the kernel when it was made through a copy of the descriptor', () => {
    engine.current = 'foreign';
    expect(actionOf(send('GET').verdict)).toBe('pass');
  });

  it('is refused when nothing is known of it', () => {
    engine.current = 'deferred';
    expect(textOf(send('GET').verdict)).toMatch(/connect again/);
  });

  it('takes the socket back when its note cannot be kept', () => {
    engine.failing = { call: 'note', error: new SysError('bpf_map_update_elem', 12) };
    const verdict = session().receive(connectTo('192.0.2.1', values), [SOCKET]);
    expect(actionOf(verdict)).toBe('refuse');
    expect(verdict?.error).toBe(EPROTONOSUPPORT);
    expect(engine.calls).toEqual(['defer', 'note', 'release']);
  });
});

describe('a listen', () => {
  const cases = [
    { phase: 'fresh', intlen: '0', action: 'proceed', inspect: 0 },
    { phase: 'fresh', intlen: '16', action: 'proceed', inspect: 1 },
    { phase: 'guarded', intlen: '16', action: 'proceed', inspect: 1 },
    { phase: 'listening', intlen: '16', action: 'proceed', inspect: 1 },
  ] as const;
  for (const { phase, intlen, action, inspect } of cases)
    it(`on a socket that is ${phase}, KNOCK_INTLEN=${intlen}: ${action}`, () => {
      engine.current = phase;
      const verdict = session().receive(listenWith({ KNOCK_SECRET: 'x', KNOCK_INTLEN: intlen }), [SOCKET]);
      expect(actionOf(verdict)).toBe(action);
      expect(verdict?.follow).toBe(inspect);
    });

  it('that the engine cannot guard is refused with its reason', () => {
    engine.failing = { call: 'guard', error: new EngineError('it cannot be') };
    const verdict = session().receive(listenWith({ KNOCK_SECRET: 'x' }), [SOCKET]);
    expect(actionOf(verdict)).toBe('refuse');
    expect(verdict?.error).toBe(EPROTONOSUPPORT);
    expect(textOf(verdict)).toBe('it cannot be');
  });

  it('is guarded once more when it listens, for the group that it may have joined', () => {
    const one = session();
    one.receive(listenWith({ KNOCK_SECRET: 'x' }), [SOCKET]);
    expect(actionOf(one.receive(report(0), []))).toBe('pass');
    expect(engine.calls).toEqual(['guard 0', 'note', 'guard 0']);
    const two = session();
    engine.current = 'fresh';
    two.receive(listenWith({ KNOCK_SECRET: 'x' }), [SOCKET]);
    engine.failing = { call: 'guard', error: new EngineError('gone') };
    expect(actionOf(two.receive(report(0), []))).toBe('refuse');
  });

  it('outside KNOCK_TARGETS is left alone', () => {
    expect(
      actionOf(session().receive(listenWith({ KNOCK_SECRET: 'x', KNOCK_TARGETS: ':22' }), [SOCKET])),
    ).toBe('pass');
  });

  it('remembers with the listener what its connections are inspected for', () => {
    session().receive(listenWith({ KNOCK_SECRET: 'x', KNOCK_INTLEN: '16' }), [LISTENER]);
    expect(actionOf(session().receive({ kind: 'accepted' }, [SOCKET, LISTENER]))).toBe('pass');
    engine.inspection = { pass: false, reason: 'changed' };
    expect(actionOf(session().receive({ kind: 'accepted' }, [SOCKET, LISTENER]))).toBe('reset');
    expect(actionOf(session().receive({ kind: 'accepted' }, [SOCKET, 7]))).toBe('reset');
  });
});

describe('an accepted connection whose first segment is on its way', () => {
  const pending: Inspection = { pass: false, reason: 'nothing yet', pending: true };

  function accepted(): Session {
    session().receive(listenWith({ KNOCK_SECRET: 'x', KNOCK_INTLEN: '16' }), [LISTENER]);
    engine.inspection = pending;
    const one = session();
    expect(one.receive({ kind: 'accepted' }, [SOCKET, LISTENER])).toBeUndefined();
    return one;
  }

  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is judged when that arrives', () => {
    accepted();
    engine.inspection = { pass: true };
    readable?.();
    expect(late.map(actionOf)).toEqual(['pass']);
    expect(readable).toBeUndefined();
  });

  it('is judged when it can be told, though it was readable before', () => {
    accepted();
    readable?.();
    expect(late).toEqual([]);
    expect(readable).toBeUndefined();
    engine.inspection = { pass: true };
    vi.advanceTimersByTime(1);
    readable?.();
    expect(late.map(actionOf)).toEqual(['pass']);
    expect(readable).toBeUndefined();
  });

  it('is reset when it does not', () => {
    accepted();
    vi.advanceTimersByTime(4000);
    expect(late.map(actionOf)).toEqual(['reset']);
  });

  it('is not looked at all the time where that never tells, though it is readable all the time', () => {
    accepted();
    let looks = 0;
    for (let ms = 0; ms < 2500; ms++) {
      if (readable !== undefined) looks++;
      readable?.();
      vi.advanceTimersByTime(1);
    }
    expect(looks).toBe(11);
    expect(late.map(actionOf)).toEqual(['reset']);
    expect(readable).toBeUndefined();
  });

  it('is forgotten when the application hangs up', () => {
    accepted().end();
    expect(readable).toBeUndefined();
    expect(late).toEqual([]);
  });
});

describe('what an application brings along', () => {
  it('is refused with key and rule when it is wrong, the secret unsaid', () => {
    const verdict = session().receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'h:abc123x' }), [SOCKET]);
    expect(actionOf(verdict)).toBe('refuse');
    expect(verdict?.error).toBe(EPROTONOSUPPORT);
    expect(textOf(verdict)).toContain('KNOCK_SECRET');
    expect(textOf(verdict)).not.toContain('abc123x');
  });

  it('may be a file with the secret, which the application opens', async () => {
    const path = join(scratch, 'secret');
    writeFileSync(path, 'filed', { mode: 0o600 });
    const one = session();
    const wanted = one.receive(connectTo('192.0.2.1', { KNOCK_SECRET: `f:${path}` }), [SOCKET]);
    expect(actionOf(wanted)).toBe('need_file');
    expect(Buffer.from(wanted?.path ?? []).toString()).toBe(path);
    const file = openSync(path, 'r');
    expect(actionOf(await lateVerdict(one.receive({ kind: 'file', error: 0 }, [file])))).toBe('proceed');
    expect(one.over).toBe(false);
    expect(engine.calls).toEqual(['arm 4242 filed -']);
  });

  it('is refused when that file is missing, is a directory, or comes unasked', async () => {
    const one = session();
    one.receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'f:/nowhere' }), [SOCKET]);
    expect(textOf(one.receive({ kind: 'file', error: 2 }, []))).toMatch(/\/nowhere.*ENOENT/);
    const two = session();
    two.receive(connectTo('192.0.2.1', { KNOCK_SECRET: `f:${scratch}` }), [SOCKET]);
    const directory = two.receive({ kind: 'file', error: 0 }, [openSync(scratch, 'r')]);
    expect(textOf(await lateVerdict(directory))).toMatch(/not a regular file/);
    expect(two.over).toBe(true);
    expect(textOf(session().receive({ kind: 'file', error: 0 }, []))).toMatch(/out of order/);
  });

  const modes = [
    { mode: 0o600, action: 'proceed' },
    { mode: 0o640, action: 'refuse' },
    { mode: 0o604, action: 'refuse' },
  ] as const;
  for (const { mode, action } of modes)
    it(`may be an rc file; mode ${mode.toString(8)}: ${action}`, async () => {
      const path = join(scratch, 'rc');
      writeFileSync(path, 'KNOCK_SECRET=from the file\n', { mode });
      const message = connectTo('192.0.2.1', {}, { rc_path: Buffer.from(path) });
      const verdict = await lateVerdict(session().receive(message, [SOCKET, openSync(path, 'r')]));
      expect(actionOf(verdict)).toBe(action);
      if (action === 'refuse') expect(textOf(verdict)).toContain('chmod 600');
    });

  it('is refused when its rc file cannot be opened', () => {
    const message = connectTo('192.0.2.1', {}, { rc_path: Buffer.from('/root/.knockrc'), rc_error: 13 });
    expect(textOf(session().receive(message, [SOCKET]))).toMatch(/\/root\/\.knockrc.*EACCES/);
  });

  it('without any secret is refused with what to do', () => {
    expect(textOf(session().receive(connectTo('192.0.2.1', {}), [SOCKET]))).toMatch(
      /KNOCK_SECRET.*\.knockrc/,
    );
  });
});

describe('mistakes of a client', () => {
  it('are answered, whatever the order', () => {
    expect(textOf(session().receive({ kind: 'send', payload: Buffer.from('x') }, []))).toMatch(
      /without its socket/,
    );
    const one = session();
    one.receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'x' }), [SOCKET]);
    expect(textOf(one.receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'x' }), [7]))).toMatch(/out of order/);
    one.end();
    expect(released).toEqual([SOCKET, 7]);
  });

  it('of the network are handed on as they are', () => {
    engine.failing = { call: 'arm', error: new SysError('connect', 101) };
    const verdict = session().receive(connectTo('192.0.2.1', { KNOCK_SECRET: 'x' }), [SOCKET]);
    expect(actionOf(verdict)).toBe('refuse');
    expect(verdict?.error).toBe(101);
    expect(textOf(verdict)).toBe('');
  });
});
