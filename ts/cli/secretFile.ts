import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { fingerprint, SECRET_BYTES } from '../stealth/secret.ts';

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Writes a random secret to a file of one's own and returns its fingerprint. The file appears whole or not at all. */
export function makeSecret(path: string, replace: boolean): string {
  try {
    if (!(replace && isFile(path))) return writeSecret(path);
    const draft = `${path}.${randomBytes(6).toString('hex')}`;
    return writeSecret(draft, { place: () => renameSync(draft, path) });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new Error(`${path} exists already; choose another name, or replace it with --force`);
  }
}

/** What went wrong with a file, in words that say what to do, where there are any. */
export function inWords(error: unknown): unknown {
  const { code, path } = error as NodeJS.ErrnoException;
  if (path === undefined) return error;
  if (code === 'ENOENT') return new Error(`${path} can't be made: there is no folder ${dirname(path)}`);
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new Error(
      `${path}: this user may not change or read it (${code}); be root, or take another place`,
    );
  return error;
}

/** Makes a file with a random secret, whose fingerprint is returned; takes it away again when it, or what comes after, fails. */
export function writeSecret(
  path: string,
  { place, owner }: { readonly place?: () => void; readonly owner?: Owner } = {},
): string {
  const secret = randomBytes(SECRET_BYTES);
  // O_EXCL follows no symbolic link and never reuses a file that others may have open.
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    fchmodSync(fd, 0o600); // whatever the umask
    if (owner !== undefined && fstatSync(fd).uid !== owner.uid) fchownSync(fd, owner.uid, owner.gid);
    writeFileSync(fd, secret);
    fsyncSync(fd);
    place?.();
    syncDirectory(dirname(path));
    return fingerprint(secret);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    secret.fill(0);
    closeSync(fd);
  }
}

/** Whether there is a regular file to replace. Throws when there is something else: /dev/null is not to be renamed over. */
function isFile(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && !stat.isFile())
    throw new Error(`${path} is not a regular file; choose another name`);
  return stat !== undefined;
}

export function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
