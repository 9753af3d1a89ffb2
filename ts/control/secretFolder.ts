import { timingSafeEqual } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { checkPrivate, quoted } from '../config/access.ts';
import { ConfigError } from '../config/error.ts';
import { parseEntry } from '../config/secretNames.ts';
import { padSecret, SECRET_BYTES } from '../stealth/secret.ts';

/** One secret of a folder that can be used. */
export interface FoundSecret {
  /** Name of its file, without the folder. */
  readonly file: string;
  readonly name: string;
  /** Of one that was replaced: until when it still counts, in ms since the epoch. */
  readonly until: number | undefined;
  /** 64 bytes, the caller's to wipe. */
  readonly secret: Uint8Array;
}

/** Something that is not used, and why. */
export interface Refused {
  /** A file's path, or the folder's. */
  readonly path: string;
  readonly why: string;
}

export interface FolderContents {
  /** Secrets before those that were replaced; by name. */
  readonly found: readonly FoundSecret[];
  readonly refused: readonly Refused[];
}

/** Out of descriptors or memory: nothing is wrong with the folder, and nothing known of it. */
const SHORTAGES = ['EMFILE', 'ENFILE', 'ENOMEM'];

const OTHERS_WRITE = 0o022;

/**
 * What is in a folder with secrets. `user` is who is to read them: folder and files must be theirs or root's, and
 * nobody else may write to the folder, nor read or write the files. What can't be trusted is refused, and the rest goes on.
 * A folder that is not there is empty, if that is `allowed`. Throws where this process lacks descriptors or memory to look.
 */
export function readFolder(
  path: string,
  { user, now, mayBeMissing = false }: { user: number; now: number; mayBeMissing?: boolean },
): FolderContents {
  let names: string[];
  try {
    checkFolder(path, user);
    names = readdirSync(path);
  } catch (error) {
    if (mayBeMissing && codeOf(error) === 'ENOENT') return { found: [], refused: [] };
    return { found: [], refused: [{ path, why: whyOf(error) }] };
  }
  const [found, refused]: [FoundSecret[], Refused[]] = [[], []];
  try {
    for (const file of names.sort()) {
      const entry = parseEntry(file);
      if (entry === undefined) continue;
      const whole = join(path, file);
      if (entry.kind === 'bad') refused.push({ path: whole, why: entry.why });
      else if (entry.until === undefined || entry.until > now) {
        const secret = orRefused(refused, whole, () => readSecret(whole, user));
        if (secret !== undefined) found.push({ file, name: entry.name, until: entry.until, secret });
      }
    }
  } catch (error) {
    wipe(found);
    throw error;
  }
  found.sort((one, other) => Number(one.until !== undefined) - Number(other.until !== undefined));
  return { found, refused };
}

/**
 * Nobody could revoke a secret that goes by two names, or tell whose it was: all but the first are `refused`. Two of one name are
 * half of a rotation, and count as one.
 */
export function withoutTwins(
  folder: string,
  found: readonly FoundSecret[],
  refused: Refused[],
): FoundSecret[] {
  const wanted: FoundSecret[] = [];
  for (const one of found) {
    const twin = wanted.find(({ secret }) => timingSafeEqual(secret, one.secret));
    if (twin === undefined) wanted.push(one);
    else if (twin.name !== one.name || one.until === undefined)
      refused.push({ path: join(folder, one.file), why: `it is the same secret as ${twin.file}` });
  }
  return wanted;
}

export function wipe(found: readonly FoundSecret[]): void {
  for (const { secret } of found) secret.fill(0);
}

/** Throws unless only the user and root can write to it. */
function checkFolder(path: string, user: number): void {
  const stat = onOpen(path, constants.O_DIRECTORY, (fd): Stats => fstatSync(fd));
  if (stat.uid !== user && stat.uid !== 0)
    throw new ConfigError(`it belongs to user ${stat.uid}, neither to user ${user} nor to root`);
  if ((stat.mode & OTHERS_WRITE) !== 0)
    throw new ConfigError(
      `others than its owner can write to it; mend that with: chmod go-w ${quoted(path)}`,
    );
}

function readSecret(path: string, user: number): Uint8Array {
  // O_NONBLOCK: opening a FIFO must not wait. A link could be to anything.
  return onOpen(path, constants.O_NONBLOCK | constants.O_NOFOLLOW, (fd) => {
    const stat: Stats = fstatSync(fd);
    if (!stat.isFile()) throw new ConfigError('it is not a regular file');
    checkPrivate(path, stat, user);
    // With a buffer of its own: see padSecret.
    const bytes = new Uint8Array(new ArrayBuffer(2 * SECRET_BYTES));
    try {
      return padSecret(bytes.subarray(0, readSync(fd, bytes, 0, SECRET_BYTES, 0)));
    } finally {
      bytes.fill(0);
    }
  });
}

function onOpen<T>(path: string, flags: number, use: (fd: number) => T): T {
  const fd = openSync(path, constants.O_RDONLY | flags);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function orRefused<T>(refused: Refused[], path: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    // Removed since it was listed.
    if (codeOf(error) !== 'ENOENT') refused.push({ path, why: whyOf(error).replace(`${path}: `, '') });
    return undefined;
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

/** Rethrows what does not speak of the file. */
function whyOf(error: unknown): string {
  if (SHORTAGES.includes(codeOf(error))) throw error;
  if (codeOf(error) === 'ELOOP') return 'it is a symbolic link';
  if (codeOf(error) === 'EACCES') return 'this process may not read it';
  return error instanceof Error ? error.message.replace(/, \w+( '.*')?$/s, '') : String(error);
}
