import { closeSync, constants, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { checkPrivate } from '../config/access.ts';
import { ConfigError } from '../config/error.ts';
import { buildPolicy, type Loan, POLICY_KEYS, type Policy, withoutSecret } from '../config/policy.ts';
import { type RawSettings, readSettings, type Settings, secretsOf, settingsFor } from '../config/settings.ts';
import type { Destination } from '../stealth/destination.ts';
import { SECRET_BYTES } from '../stealth/secret.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** More than any sensible rc file; keeps a mistaken KNOCK_RC from filling memory. */
const MAX_RC_BYTES = 64 * 1024;

/**
 * The policy of this very process, for connections to `destination` if that is given: environment, rc file and, if
 * named there, the secret's file. Throws ConfigError.
 */
export function loadLocalPolicy(env: Environment = process.env, destination?: Destination): Policy {
  const settings = loadLocalSettings(env, destination);
  const policy = policyOf(settings);
  // The policy's may be one of them.
  for (const secret of secretsOf(settings)) if (secret !== policy.secret) secret.fill(0);
  return policy;
}

/** What this very process lends to others, with a secret if it has one. Throws ConfigError. */
export function loadLoan(env: Environment = process.env): Loan {
  const settings = loadLocalSettings(env);
  return settings.secret === undefined
    ? { secret: undefined, ...withoutSecret(settings) }
    : policyOf(settings);
}

/** Throws ConfigError unless every secret can be read that is set, for all destinations or for some. How many there are. */
export function checkLocalSecrets(env: Environment): number {
  const settings = loadLocalSettings(env);
  const sources = [settings.secret, ...settings.sections.map((section) => section.secret)];
  const set = sources.filter((secret) => secret !== undefined);
  for (const secret of set) policyOf({ ...settings, secret }).secret.fill(0);
  return set.length;
}

function policyOf(settings: Settings): Policy {
  if (settings.secret?.kind !== 'file') return buildPolicy(settings, undefined);
  const { pathBytes, origin } = settings.secret;
  const contents = readSecretFile(pathBytes, `KNOCK_SECRET (${origin})`);
  try {
    return buildPolicy(settings, contents);
  } finally {
    contents.fill(0);
  }
}

/**
 * The settings of this very process, for connections to `destination` if that is given: from its environment and rc
 * file. Opens no secret's file. Throws ConfigError.
 */
export function loadLocalSettings(env: Environment = process.env, destination?: Destination): Settings {
  const rc = readRc(env);
  try {
    const settings = readSettings({ env: policyVariables(env), rc });
    return destination === undefined ? settings : settingsFor(settings, destination);
  } finally {
    rc?.text.fill(0);
  }
}

/**
 * The first 64 bytes of a secret's file, fewer if it has fewer. Files without an end and pipes will do.
 * `setting` is what named the file, for the message. Throws ConfigError.
 */
export function readSecretFile(path: string | Uint8Array, setting: string): Uint8Array {
  const name = Buffer.from(path);
  try {
    const fd = openSync(name, constants.O_RDONLY);
    try {
      return readUpTo(fd, SECRET_BYTES);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new ConfigError(`${setting}: can't read ${name.toString()}: ${reason(error)}`);
  }
}

/** `$KNOCK_RC`, which must exist, or else `~/.knockrc`, which need not. */
function readRc(env: Environment): RawSettings['rc'] {
  const named = env.KNOCK_RC;
  if (named === '') throw new ConfigError('KNOCK_RC (environment): it is empty; must be the name of a file');
  const path = named ?? join(env.HOME || homedir(), '.knockrc');
  // O_NONBLOCK: opening a FIFO must not wait for its writer.
  const fd = openIfThere(path, named !== undefined);
  if (fd === undefined) return undefined;
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new ConfigError(`${path}: it is not a regular file`);
    checkPrivate(path, stat, process.geteuid?.() ?? 0);
    if (stat.size > MAX_RC_BYTES) throw new ConfigError(`${path}: it has more than ${MAX_RC_BYTES} bytes`);
    return { path, text: readUpTo(fd, MAX_RC_BYTES) };
  } finally {
    closeSync(fd);
  }
}

function openIfThere(path: string, required: boolean): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const missing = ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');
    if (missing && !required) return undefined;
    throw new ConfigError(
      `${required ? `KNOCK_RC=${path} (environment)` : path}: can't open it: ${reason(error)}`,
    );
  }
}

function readUpTo(fd: number, limit: number): Uint8Array {
  const bytes = new Uint8Array(limit);
  let length = 0;
  while (length < limit) {
    const count = readSync(fd, bytes, length, limit - length, null);
    if (count === 0) break;
    length += count;
  }
  return bytes.subarray(0, length);
}

function policyVariables(env: Environment): Map<string, Uint8Array> {
  const variables = new Map<string, Uint8Array>();
  for (const name of POLICY_KEYS) {
    const text = env[name];
    if (text !== undefined) variables.set(name, rawVariable(name, text));
  }
  return variables;
}

/**
 * A variable's bytes. Node decodes the environment as UTF-8 and puts U+FFFD where that fails, so a secret of
 * arbitrary bytes has to be fetched from where the kernel keeps what execve() was given.
 */
function rawVariable(name: string, text: string): Uint8Array {
  const encoded = Buffer.from(text, 'utf8');
  if (!text.includes('\ufffd')) return encoded;
  const prefix = Buffer.from(`${name}=`);
  const initial = readFileSync('/proc/self/environ');
  for (let start = 0; start < initial.length; ) {
    const nul = initial.indexOf(0, start);
    const end = nul < 0 ? initial.length : nul;
    const entry = initial.subarray(start, end);
    const value = entry.subarray(prefix.length);
    if (entry.indexOf(prefix) === 0 && value.toString('utf8') === text) return value;
    start = end + 1;
  }
  return encoded;
}

/** Errno and its meaning, without Node's repetition of call and path. */
function reason(error: unknown): string {
  return error instanceof Error ? error.message.replace(/, \w+( '.*')?$/s, '') : String(error);
}
