import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { fingerprint, SECRET_BYTES } from '../stealth/secret.ts';
import { oneLineErrors, orFail } from './oneLineErrors.ts';

/** Adds `knockify secret`: a new shared secret in a file of one's own. */
export function register(program: Command): void {
  const command = oneLineErrors(program.command('secret'))
    .description(
      `write a random ${SECRET_BYTES}-byte secret to a file that only you can read, print its fingerprint`,
    )
    .argument('<file>', 'the file to make; copy it to the other end over a safe way')
    .option('--force', 'replace the file if there is one: whoever uses the old secret is locked out')
    .allowExcessArguments(false);
  command.action((file: string, options: { force?: true }) =>
    orFail(command, () => {
      const path = resolve(file);
      process.stdout.write(usage(path, makeSecret(path, options.force === true)));
    }),
  );
}

/** Writes the secret and returns its fingerprint. The file appears whole or not at all. */
function makeSecret(path: string, replace: boolean): string {
  const secret = randomBytes(SECRET_BYTES);
  try {
    if (replace && isFile(path)) {
      const draft = `${path}.${randomBytes(6).toString('hex')}`;
      writeNew(draft, secret, () => renameSync(draft, path));
    } else {
      writeNew(path, secret);
    }
    syncDirectory(dirname(path));
    return fingerprint(secret);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new Error(`${path} exists already; choose another name, or replace it with --force`);
  } finally {
    secret.fill(0);
  }
}

/** Creates a file; takes it away again when it, or what comes after, fails. */
function writeNew(path: string, contents: Uint8Array, then: () => void = () => {}): void {
  // O_EXCL follows no symbolic link and never reuses a file that others may have open.
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    fchmodSync(fd, 0o600); // whatever the umask
    writeFileSync(fd, contents);
    fsyncSync(fd);
    then();
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
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

function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function usage(path: string, print: string): string {
  const setting = `KNOCK_SECRET=f:${path}`;
  const quoted = /^[\w./@%+=:,-]+$/.test(setting) ? setting : `'${setting.replaceAll("'", "'\\''")}'`;
  return [
    `fingerprint ${print}`,
    `In the environment, at both ends:  export ${quoted}`,
    `Or as a line in ~/.knockrc:        ${setting}`,
    '',
  ].join('\n');
}
