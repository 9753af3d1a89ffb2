import { getSystemErrorName } from 'node:util';
import { checkPrivate } from '../config/access.ts';
import { ConfigError } from '../config/error.ts';
import { type RawSettings, readSettings, type Settings } from '../config/settings.ts';
import type { Message } from '../spec/codec.ts';
import type { OpenFile } from '../sys/files.ts';
import type { Credentials } from './surroundings.ts';

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

/** What the application opened as its rc file; undefined if it has none. Throws ConfigError if it can't have it. */
export function openedRc(
  { rc_path, rc_error }: Message<'connect' | 'listen'>,
  fd: number | undefined,
): { readonly fd: number; readonly name: string } | undefined {
  const name = Buffer.from(rc_path).toString();
  if (name === '') return undefined;
  if (rc_error === 0 && fd !== undefined) return { fd, name };
  throw new ConfigError(
    `${name}: it can't be opened (${getSystemErrorName(-rc_error)}): make it readable for this program, or remove it`,
  );
}

/** Reads what an application brought along, and wipes it. Throws ConfigError. */
export function applicationSettings(
  request: Message<'connect' | 'listen'>,
  rc: OpenFile | undefined,
  client: Credentials,
): Settings {
  const path = Buffer.from(request.rc_path).toString();
  const env = environment(request.settings);
  try {
    if (rc === undefined) return readSettings({ env });
    checkPrivate(path, rc, client.uid);
    return readSettings({ env, rc: { path, text: rc.bytes } });
  } finally {
    for (const bytes of [rc?.bytes, request.settings]) bytes?.fill(0);
  }
}

/** The file with a secret that the application opened. Throws ConfigError that names it. */
export function openedSecret(path: string, error: number, fd: number | undefined): number {
  if (error === 0 && fd !== undefined) return fd;
  throw new ConfigError(`KNOCK_SECRET: the file ${path} can't be opened (${getSystemErrorName(-error)})`);
}
