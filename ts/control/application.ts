import { getSystemErrorName } from 'node:util';
import { checkPrivate } from '../config/access.ts';
import { ConfigError } from '../config/error.ts';
import type { Policy } from '../config/policy.ts';
import type { SecretFile } from '../config/secretForm.ts';
import { type RawSettings, readSettings, type Settings, settingsFor } from '../config/settings.ts';
import { ALL_TARGETS, matchesDestination } from '../config/targets.ts';
import type { Message } from '../spec/codec.ts';
import type { Destination } from '../stealth/destination.ts';
import type { OpenFile } from '../sys/files.ts';
import { parseSockaddr } from './sockaddr.ts';
import type { Credentials } from './surroundings.ts';

/** What the application would do with a socket of its own. */
export type Request = Message<'connect' | 'listen'>;

/** PATH_MAX of Linux. */
const LONGEST_PATH = 4096;

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
  { rc_path, rc_error }: Request,
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
  request: Request,
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

function destinationOf({ peer, peer_size }: Message<'connect'>): Destination {
  return parseSockaddr(peer.subarray(0, peer_size));
}

/** Of a connect, as they are for its destination. */
export function settingsOf(request: Request, settings: Settings): Settings {
  return request.kind === 'connect' && settings.sections.length > 0
    ? settingsFor(settings, destinationOf(request))
    : settings;
}

/** Whoever has a secret for some destinations only needs none for those that are no target. */
export function leavesAlone({ sections, targets }: Settings, request: Message<'connect'>): boolean {
  return sections.length > 0 && targets !== undefined && !matchesDestination(targets, destinationOf(request));
}

/** An f: secret and an rc file have to be looked at each time, and targets for each destination. */
export function isConstant(
  request: Request,
  settings: Settings,
  { targets, protectedLength }: Policy,
): boolean {
  const fromFile = request.rc_path.length > 0 || settings.secret?.kind === 'file';
  return !fromFile && targets === ALL_TARGETS && protectedLength === 0;
}

/** A file with a secret as settings name it, for the application to open. Throws ConfigError. */
export function openable(file: SecretFile): SecretFile {
  const { length } = file.pathBytes;
  if (length <= LONGEST_PATH) return file;
  throw new ConfigError(`KNOCK_SECRET: the file name has ${length} bytes; at most ${LONGEST_PATH} can be`);
}

/** The file with a secret that the application opened. Throws ConfigError that names it. */
export function openedSecret(path: string, error: number, fd: number | undefined): number {
  if (error === 0 && fd !== undefined) return fd;
  throw new ConfigError(`KNOCK_SECRET: the file ${path} can't be opened (${getSystemErrorName(-error)})`);
}
