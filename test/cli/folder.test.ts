import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeFolder } from '../../ts/cli/folder.ts';
import { ConfigError } from '../../ts/config/error.ts';

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'knockify-folder-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

test('makes a folder and those above it, and leaves one that is there as it is', () => {
  const path = join(base, 'a/b/c');
  makeFolder(path, 0o700);
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(statSync(join(base, 'a')).mode & 0o777).toBe(0o755);
  makeFolder(path);
  expect(statSync(path).mode & 0o777).toBe(0o700);
});

test.each([
  {
    where: 'below /proc',
    path: () => '/proc/nobody/makes/folders/here',
    named: '/proc/nobody',
    why: 'ENOENT',
  },
  { where: 'below a file', path: () => join(base, 'file/a/b'), named: 'file/a', why: 'ENOTDIR' },
])('names what it cannot make $where', ({ path, named, why }) => {
  writeFileSync(join(base, 'file'), '');
  expect(() => makeFolder(path())).toThrow(ConfigError);
  expect(() => makeFolder(path())).toThrow(new RegExp(`^the folder .*${named} can't be made \\(${why}\\);`));
  expect(existsSync(path())).toBe(false);
});
