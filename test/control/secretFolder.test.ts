import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileOf } from '../../ts/config/secretNames.ts';
import { readFolder, wipe } from '../../ts/control/secretFolder.ts';

const NOW = Date.UTC(2026, 10, 21);
/** Who runs this owns what it makes. */
const USER = process.geteuid?.() ?? 0;
const STRANGER = 4711;

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'knockify-folder-')), 'secrets.d');
  mkdirSync(folder, { mode: 0o700 });
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true, force: true }));

function put(file: string, text = `secret in ${file}`, mode = 0o600): string {
  const path = join(folder, file);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function read(user = USER, mayBeMissing = false) {
  const { found, refused } = readFolder(folder, { user, now: NOW, mayBeMissing });
  const texts = found.map(({ name, until, secret }) => {
    expect(secret).toHaveLength(64);
    return [name, until, Buffer.from(secret).toString().replace(/\0+$/, '')];
  });
  return { texts, refused: refused.map(({ path, why }) => [path.replace(folder, '.'), why]) };
}

describe('a folder with secrets', () => {
  it('is read by names, with what was replaced behind, and without what has expired', () => {
    put('bob.secret');
    put('alice.secret');
    put(fileOf('alice', NOW + 1000));
    put(fileOf('alice', NOW));
    put('README');
    put('.draft.secret');
    put('carol.secret~', '', 0o644);
    expect(read()).toEqual({
      texts: [
        ['alice', undefined, 'secret in alice.secret'],
        ['bob', undefined, 'secret in bob.secret'],
        ['alice', NOW + 1000, 'secret in alice.secret.until-20261121T000001Z'],
      ],
      refused: [],
    });
  });

  it('takes 64 bytes of a longer file', () => {
    put('alice.secret', 'x'.repeat(100));
    expect(read().texts).toEqual([['alice', undefined, 'x'.repeat(64)]]);
  });

  it.each([
    {
      what: 'is readable for the group',
      make: () => put('bad.secret', 'x', 0o640),
      why: '0640 are too open',
    },
    { what: 'is writable for all', make: () => put('bad.secret', 'x', 0o602), why: '0602 are too open' },
    { what: 'is empty', make: () => put('bad.secret', ''), why: 'the secret is empty' },
    { what: 'is all zero', make: () => put('bad.secret', '\0\0'), why: 'zero bytes only' },
    { what: 'is a folder', make: () => mkdirSync(join(folder, 'bad.secret')), why: 'not a regular file' },
    {
      what: 'is a symbolic link',
      make: () => symlinkSync(put('other', 'x'), join(folder, 'bad.secret')),
      why: 'symbolic link',
    },
    {
      what: 'is a FIFO',
      make: () => execFileSync('mkfifo', [join(folder, 'bad.secret')]),
      why: 'not a regular file',
    },
  ])('refuses a file that $what, and takes the others', ({ make, why }) => {
    make();
    put('good.secret');
    const { texts, refused } = read();
    expect(texts).toEqual([['good', undefined, 'secret in good.secret']]);
    expect(refused).toEqual([['./bad.secret', expect.stringContaining(why)]]);
  });

  it('refuses names that are none, and times that are none', () => {
    put('a b.secret');
    put('alice.secret.until-soon');
    expect(read().refused.map(([path]) => path)).toEqual(['./a b.secret', './alice.secret.until-soon']);
  });

  it('refuses files of others, unless they are root', () => {
    put('root.secret');
    chownSync(put('stranger.secret'), STRANGER, STRANGER);
    expect(read().refused).toEqual([['./stranger.secret', expect.stringContaining(`to user ${STRANGER},`)]]);
    chownSync(folder, STRANGER, STRANGER);
    expect(read(STRANGER).texts.map(([name]) => name)).toEqual(['root', 'stranger']);
  });

  it.each([
    { what: 'that others can write to', make: () => chmodSync(folder, 0o720), why: 'can write to it' },
    { what: "that is a stranger's", make: () => chownSync(folder, STRANGER, -1), why: `user ${STRANGER}` },
    { what: 'that is missing', make: () => rmSync(folder, { recursive: true }), why: 'ENOENT' },
  ])('is refused as a whole: one $what', ({ make, why }) => {
    put('alice.secret');
    make();
    expect(read()).toEqual({ texts: [], refused: [['.', expect.stringContaining(why)]] });
  });

  it('may be missing where that is allowed', () => {
    rmSync(folder, { recursive: true });
    expect(read(USER, true)).toEqual({ texts: [], refused: [] });
  });

  it('leaves no secret where it was wiped, and no descriptor open', () => {
    put('alice.secret');
    put('bad.secret', 'x', 0o644);
    const before = readdirSync('/proc/self/fd').length;
    const { found } = readFolder(folder, { user: USER, now: NOW });
    wipe(found);
    expect(found.flatMap(({ secret }) => [...secret]).every((byte) => byte === 0)).toBe(true);
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });
});
