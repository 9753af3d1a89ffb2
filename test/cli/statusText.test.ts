import { describe, expect, it } from 'vitest';
import { eventLine } from '../../ts/cli/events.ts';
import { duration, statusLines } from '../../ts/cli/statusText.ts';
import type { ListenerStatus, Status, VerdictEvent } from '../../ts/spec/status.ts';

const PAGE = { columns: 80, colours: false };
const NOW = Date.parse('2026-01-02T12:00:00.000Z');

const listener: ListenerStatus = {
  ...{
    address: '192.0.2.2',
    port: 22,
    interface: null,
    inode: 1,
    program: 'sshd',
    pid: 812,
    uid: 0,
    user: 'root',
  },
  ...{ mode: 'auth', protectedLength: 0, replay: 'reject', since: '2026-01-02T10:00:00.000Z' },
  syns: { authorised: 12, rejected: 3401 },
  last: { time: '2026-01-02T11:55:00.000Z', secret: null },
};

const LONG: ListenerStatus = {
  ...listener,
  ...{
    address: '2001:db8:1234:5678:9abc:def0:1234:5678',
    port: 65535,
    program: 'a-long-name-of-a',
    pid: 4194304,
  },
  ...{
    user: 'a-user-with-a-very-long-name',
    mode: 'integrity',
    protectedLength: 1024,
    syns: null,
    last: null,
  },
};

function status(listeners: readonly ListenerStatus[], errors: Status['errors'] = []): Status {
  return {
    control: {
      ...{ pid: 700, version: '0.1.0', engine: 'stock', since: '2026-01-01T12:00:00.000Z' },
      ...{ uptime: 86_400, sessions: 1 },
    },
    listeners,
    connects: { armed: 1, delayed: 2 },
    events: { followers: 0, suppressed: 0 },
    errors,
  };
}

describe('the status on a terminal', () => {
  it('is a line each for what it says, and a table', () => {
    expect(statusLines(status([listener]), PAGE, NOW)).toEqual([
      'control process 700, version 0.1.0 (stock), up 24 h',
      '1 guarded listener, 1 connecting, 2 delayed, 1 session',
      '',
      'LISTENER      PROGRAM    USER  MODE  AGE  RIGHT  WRONG   LAST',
      '192.0.2.2:22  sshd[812]  root  auth  2 h     12   3401  5 min',
    ]);
  });

  it('gives addresses that leave no room lines of their own', () => {
    const lines = statusLines(status([listener, LONG]), PAGE, NOW);
    expect(lines.slice(3)).toEqual([
      'LISTENER',
      '  PROGRAM               USER        MODE      AGE  RIGHT  WRONG   LAST',
      '192.0.2.2:22',
      '  sshd[812]             root        auth      2 h     12   3401  5 min',
      '[2001:db8:1234:5678:9abc:def0:1234:5678]:65535',
      '  a-long-name-of-a[...  a-user-...  int 1024  2 h      -      -      -',
    ]);
  });

  it.each([20, 40, 80, 200])('has no line longer than %d columns', (columns) => {
    const text = 'a word '.repeat(50);
    const errors = [{ time: '2026-01-02T11:00:00.000Z', text, pid: 1, uid: 0 }];
    for (const listeners of [[], [listener], [LONG]])
      for (const line of statusLines(status(listeners, errors), { columns, colours: false }, NOW))
        expect(line.length).toBeLessThanOrEqual(columns);
  });

  it('says every error whole, the newest first, in the time of the place', () => {
    const [hour, zone] = ['2026-01-02T11:00:00.000Z', process.env.TZ];
    process.env.TZ = 'Asia/Tokyo';
    const errors = [
      { time: hour, text: 'the older one', pid: null, uid: null },
      { time: hour, text: `the newer one, ${'with many words '.repeat(8)}at the end`, pid: 7, uid: 0 },
    ];
    const lines = statusLines(status([], errors), PAGE, NOW);
    process.env.TZ = zone;
    expect(lines.slice(lines.indexOf('LAST ERRORS') + 1)).toEqual([
      '2026-01-02 20:00:00  process 7: the newer one, with many words with many words',
      '  with many words with many words with many words with many words with many',
      '  words with many words at the end',
      '2026-01-02 20:00:00  the older one',
    ]);
    const piped = statusLines(status([], errors), { columns: undefined, colours: false }, NOW);
    expect(piped.at(-2)).toMatch(/ {2}process 7: the newer one, .* at the end$/);
  });

  it('goes on below where its figures need more than a line', () => {
    const full: Status = { ...status([]), events: { followers: 12, suppressed: 89_390 } };
    expect(statusLines(full, PAGE, NOW).slice(1, 4)).toEqual([
      '0 guarded listeners, 1 connecting, 2 delayed, 1 session, 12 followers, 89390',
      '  events suppressed',
      '',
    ]);
  });

  it('lets no name and no message move the cursor', () => {
    const evil = { ...listener, program: '\x1b[2J', user: 'a\nb' };
    const errors = [{ time: '2026-01-02T11:00:00.000Z', text: 'bad \x1b[31m\nthing', pid: null, uid: null }];
    const text = statusLines(status([evil], errors), PAGE, NOW).join('\n');
    expect(text).not.toContain('\x1b');
    expect(text).toContain('bad ?[31m?thing');
  });

  it('says so where there is nothing', () => {
    expect(statusLines(status([]), PAGE, NOW).at(-1)).toMatch(/^Nothing is guarded/);
  });

  it('counts in units that fit', () => {
    expect([0, 59, 60, 7199, 172_799, 172_800].map(duration)).toEqual([
      ...['0 s', '59 s', '1 min', '1 h', '47 h', '2 d'],
    ]);
  });
});

describe('an event', () => {
  const event: VerdictEvent = {
    ...{ time: '2026-01-02T11:00:00.123Z', verdict: 'authorised', source: '2001:db8::1', sourcePort: 40000 },
    ...{
      destination: '2001:db8::2',
      destinationPort: 22,
      program: 'sshd',
      pid: 812,
      uid: 0,
      secret: 'alice',
    },
  };

  it('is a line', () => {
    expect(eventLine(event, PAGE)).toMatch(
      /^\d\d:00:00\.123 authorised \[2001:db8::1\]:40000 -> \[2001:db8::2\]:22 sshd\[812\] by alice$/,
    );
    expect(eventLine({ time: event.time, suppressed: 7 }, PAGE)).toContain('7 more were not reported');
  });

  it('is harmless', () => {
    expect(eventLine({ ...event, program: '\x1b[2J' }, PAGE)).not.toContain('\x1b');
  });
});
