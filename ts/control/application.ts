import { getSystemErrorName } from 'node:util';
import { checkPrivate } from '../config/access.ts';
import { ConfigError } from '../config/error.ts';
import { type RawSettings, readSettings, type Settings } from '../config/settings.ts';
import type { Message } from '../spec/codec.ts';
import { type OpenFile, readWhole } from '../sys/files.ts';
import type { Credentials } from './surroundings.ts';

/** An rc file or a file with a secret has no business being longer. */
const MAX_FILE_SIZE = 65_536;

function environment(settings: Uint8Array): RawSettings['env'] {
  const env = new Map<string, Uint8Array>();
  let start = 0;
  for (let end = settings.indexOf(0, start); end >= 0; end = settings.indexOf(0, start)) {
    const text = settings.subarray(start, end);
    const equals = text.indexOf(0x3d);
    if (equals > 0)
      env.set(Buffer.from(text.subarray(0, equals)).toString('latin1'), text.subarray(equals + 1));
    start = end + 1;
  }
  return env;
}

function readRc(path: string, error: number, file: number | undefined, client: Credentials): Uint8Array {
  if (error !== 0 || file === undefined)
    throw new ConfigError(
      `${path}: it can't be opened (${getSystemErrorName(-error)}): make it readable for this program, or remove it`,
    );
  const { bytes, mode, uid }: OpenFile = readWhole(file, MAX_FILE_SIZE, path);
  checkPrivate(path, { mode, uid }, client.uid);
  return bytes;
}

/** Reads what an application brought along. Throws ConfigError. */
export function applicationSettings(
  request: Message<'connect' | 'listen'>,
  rc: number | undefined,
  client: Credentials,
): Settings {
  const path = Buffer.from(request.rc_path).toString();
  const env = environment(request.settings);
  const text = path === '' ? undefined : readRc(path, request.rc_error, rc, client);
  try {
    return readSettings(text === undefined ? { env } : { env, rc: { path, text } });
  } finally {
    for (const bytes of [text, request.settings]) bytes?.fill(0);
  }
}

/** The contents of a file with a secret that the application opened. Throws ConfigError that names it. */
export function secretFileContents(path: string, error: number, file: number | undefined): Uint8Array {
  if (error !== 0 || file === undefined)
    throw new ConfigError(`KNOCK_SECRET: the file ${path} can't be opened (${getSystemErrorName(-error)})`);
  return readWhole(file, MAX_FILE_SIZE, path).bytes;
}
