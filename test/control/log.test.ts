import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { levelled, Remembering, sayJson, sayText } from '../../ts/control/log.ts';

let directory: string;
let fd: number;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'knockify-log-'));
  fd = openSync(join(directory, 'log'), 'a');
});
afterEach(() => {
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

const written = () => readFileSync(join(directory, 'log'), 'utf8');
const CLIENT = { pid: 4711, uid: 1000, gid: 100 };

describe('lines for people', () => {
  it('stay one line, whatever a client put into them', () => {
    sayText(fd)('error', 'bad\nknockify control: forged \x1b[2J');
    expect(written()).toBe('knockify control: bad\\x0aknockify control: forged \\x1b[2J\n');
  });
});

describe('lines for programs', () => {
  it('are objects with level, time, text and whom it is about', async () => {
    const say = await sayJson(fd);
    say('error', 'bad\nthing', CLIENT);
    say('info', 'ready');
    const [first, second, rest] = written().split('\n');
    expect(rest).toBe('');
    const { time, ...others } = JSON.parse(first ?? '') as { time: string };
    expect(others).toEqual({ level: 'error', name: 'knockify', msg: 'bad\nthing', ...CLIENT });
    expect(new Date(time).toISOString()).toBe(time);
    expect(JSON.parse(second ?? '')).toMatchObject({ level: 'info', msg: 'ready' });
  });

  it('say how many were lost before them, as an object too', async () => {
    const say = await sayJson(fd);
    closeSync(fd);
    say('error', 'lost');
    say('error', 'lost');
    // The lowest descriptor that is free.
    expect(openSync(join(directory, 'log'), 'a')).toBe(fd);
    say('info', 'written');
    const [notice, line] = written().split('\n');
    expect(JSON.parse(notice ?? '')).toMatchObject({ level: 'error', lost: 2 });
    expect(JSON.parse(line ?? '')).toMatchObject({ msg: 'written' });
  });
});

it('a level leaves out what is above it', () => {
  const log = levelled(2, sayText(fd));
  log.error('one');
  log.info('two');
  log.debug('three');
  expect(written()).toBe('knockify control: one\nknockify control: two\n');
});

it('the newest errors are remembered, whatever the level', () => {
  const log = new Remembering(levelled(0, sayText(fd)));
  for (let i = 0; i < 20; i++) log.error(`error ${i}`, CLIENT);
  log.error('x'.repeat(10_000));
  log.info('no error');
  expect(log.count).toBe(21);
  expect(log.failures).toHaveLength(16);
  expect(log.failures[0]).toMatchObject({ text: 'error 5', about: CLIENT });
  expect(log.failures.at(-1)?.text).toHaveLength(500);
  expect(written()).toBe('');
});
