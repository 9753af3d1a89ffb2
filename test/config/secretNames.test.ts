import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../ts/config/error.ts';
import { fileOf, isName, parseDuration, parseEntry } from '../../ts/config/secretNames.ts';

const TIME = Date.UTC(2026, 10, 22, 8, 20, 0);

describe('names', () => {
  test.each(['a', 'alice', 'Alice-2', '_', '0', 'a.b_c-d', 'x'.repeat(64)])('%s', (name) => {
    expect(isName(name)).toBe(true);
  });

  test.each([
    '',
    '.',
    '..',
    '.a',
    '-a',
    'a b',
    'a/b',
    'ä',
    'a\n',
    'a\0',
    'x'.repeat(65),
    'a.secret',
    'a.secret.b',
  ])('not %j', (name) => expect(isName(name)).toBe(false));
});

describe('files', () => {
  test('of a secret, and of one that was replaced', () => {
    expect(fileOf('alice')).toBe('alice.secret');
    expect(fileOf('alice', TIME)).toBe('alice.secret.until-20261122T082000Z');
  });

  test.each([
    ['README', undefined],
    ['.alice.secret', undefined],
    ['.alice.secret.0123', undefined],
    ['alice', undefined],
    ['alice.secret~', undefined],
    ['alice.secret.dpkg-new', undefined],
    ['alice.secret', { kind: 'secret', name: 'alice', until: undefined }],
    ['a.b.secret', { kind: 'secret', name: 'a.b', until: undefined }],
    ['alice.secret.until-20261122T082000Z', { kind: 'secret', name: 'alice', until: TIME }],
  ])('%s', (file, entry) => expect(parseEntry(file)).toEqual(entry));

  test.each([
    ['a b.secret', 'name'],
    ['-.secret', 'name'],
    [`${'x'.repeat(65)}.secret`, 'name'],
    ['.secret.secret.secret', undefined],
    ['a.secret.secret', 'name'],
    ['alice.secret.until-', 'time'],
    ['alice.secret.until-tomorrow', 'time'],
    ['alice.secret.until-20260230T000000Z', 'time'],
    ['alice.secret.until-20261122T082000', 'time'],
    ['alice.secret.until-20261122T082000Z.secret', 'time'],
    ['a b.secret.until-20261122T082000Z', 'name'],
  ])('%s is refused for its %s', (file, what) => {
    const entry = parseEntry(file);
    if (what === undefined) expect(entry).toBeUndefined();
    else expect(entry).toMatchObject({ kind: 'bad', why: expect.stringContaining(what) });
  });

  test('any name and time come back as they were; no file makes it throw', () => {
    const names = fc.string({ minLength: 1, maxLength: 70 }).filter(isName);
    const times = fc.option(fc.integer({ min: 0, max: 4_000_000_000 }), { nil: undefined });
    fc.assert(
      fc.property(names, times, (name, seconds) => {
        const until = seconds === undefined ? undefined : seconds * 1000;
        expect(parseEntry(fileOf(name, until))).toEqual({ kind: 'secret', name, until });
      }),
    );
    const pieces = fc.constantFrom('.secret', '.until-', 'a', '.', '20261122T082000Z', '-', '9', 'Z', ' ');
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 6 }), (parts) => {
        const file = parts.join('');
        const entry = parseEntry(file);
        if (entry?.kind === 'secret') expect(fileOf(entry.name, entry.until)).toBe(file);
      }),
    );
  });
});

describe('durations', () => {
  test.each([
    ['0', 0],
    ['0s', 0],
    ['90s', 90_000],
    ['30m', 1_800_000],
    ['24h', 86_400_000],
    ['365d', 31_536_000_000],
  ])('%s', (text, ms) => expect(parseDuration(text)).toBe(ms));

  test.each(['', '1', '-1s', '1.5h', '1w', 'h', '366d', '99999999999s', ' 1s', '1 s'])('not %j', (text) => {
    expect(() => parseDuration(text)).toThrow(ConfigError);
  });
});
