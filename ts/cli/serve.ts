import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, unlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { ConfigError } from '../config/error.ts';
import { eventText, Following } from '../control/following.ts';
import { type Log, levelled, Remembering, type Say, sayJson, sayText } from '../control/log.ts';
import { Reading } from '../control/reading.ts';
import { ControlServer } from '../control/server.ts';
import { Telling } from '../control/telling.ts';
import type { Memory } from '../engine/engine.ts';
import { createEngine, type EngineChoice } from '../engine/select.ts';
import type { FollowedEvent } from '../spec/status.ts';
import * as channel from '../sys/channel.ts';
import { SysError } from '../sys/error.ts';
import { getBytes, getsockname, getUint } from '../sys/libc.ts';
import { type HandedOver, handedOver, harden, isKilled, notify, unblock } from '../sys/process.ts';
import type { ControlOptions } from './control.ts';
import { ENGINE } from './environment.ts';
import { makeFolder } from './folder.ts';
import { type KeptSecrets, keepSecrets } from './keepSecrets.ts';
import { loadLoan } from './localPolicy.ts';
import { VERSION } from './version.ts';

/** The number of a user or a group by its name, or as given if it is a number. */
function idOf(kind: 'user' | 'group', name: string, option: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  // What NSS knows beyond the files (LDAP, systemd) only getent can tell.
  const found = spawnSync('getent', [kind === 'user' ? 'passwd' : 'group', name], { encoding: 'utf8' });
  const id = found.status === 0 ? found.stdout.split(':')[2] : undefined;
  if (id === undefined) throw new ConfigError(`${option} ${name}: there is no such ${kind}`);
  return Number(id);
}

/** Whether a process serves the Unix socket. One that was killed with hands behind keeps it open until they get loose. */
function isServed(path: string): boolean {
  let fd: number;
  try {
    fd = channel.connect(path);
  } catch (error) {
    if (error instanceof SysError && error.code === 'ECONNREFUSED') return false;
    throw error;
  }
  const pid = getBytes(fd, 'SO_PEERCRED', PEER_BYTES).readInt32LE();
  channel.close(fd);
  return !isKilled(pid);
}

/** A socket file whose owner is gone is in the way; one that is served is another control process's. */
function clearStale(path: string): void {
  if (!existsSync(path)) return;
  if (isServed(path))
    throw new ConfigError(
      `another control process serves ${path}: stop it, or give this one another --socket`,
    );
  unlinkSync(path);
}

/** sizeof(struct ucred). */
const PEER_BYTES = 12;

/** The socket that a service manager listens on for us. */
const ACTIVATED = 'knockify.socket';

const STDERR = 2;
const SOCK_SEQPACKET = 5;

function takeOver(fd: number): Listener {
  if (getUint(fd, 'SO_TYPE') !== SOCK_SEQPACKET)
    throw new ConfigError(
      `${ACTIVATED}: it is a socket of another type; ListenSequentialPacket= makes the right one`,
    );
  unblock(fd);
  return { fd, remove: () => {} };
}

interface Listener {
  readonly fd: number;
  /** Takes away what was made for it. */
  remove(): void;
}

function listen({ socket, mode, group }: ControlOptions, given: readonly HandedOver[]): Listener {
  const activated = given.find(({ name }) => name === ACTIVATED);
  if (activated !== undefined) return takeOver(activated.fd);
  makeFolder(dirname(resolve(socket)));
  clearStale(socket);
  const listener = channel.listen(socket);
  if (group !== undefined) chownSync(socket, -1, idOf('group', group, '--group'));
  chmodSync(socket, mode);
  return { fd: listener, remove: () => unlinkSync(socket) };
}

/**
 * Where the maps of the engine outlive this process, however it ends: systemd's descriptor store. FDPOLL=0, or it would
 * drop them at once: poll(2) calls most kinds of map broken.
 */
function memoryOf(kept: readonly HandedOver[]): Memory {
  return {
    kept,
    keep: (name, descriptors) => notify(`FDSTORE=1\nFDPOLL=0\nFDNAME=${name}`, descriptors),
    forget: (name) => notify(`FDSTOREREMOVE=1\nFDNAME=${name}`),
  };
}

/** KNOCK_LOGLVL at which every connect has its line. */
const LOG_EVERYTHING = 3;

function engineChoice(): EngineChoice {
  const choice = process.env.KNOCK_ENGINE ?? 'auto';
  if (choice !== 'auto' && choice !== 'stock' && choice !== 'knock')
    throw new ConfigError(`KNOCK_ENGINE=${choice} (environment): must be ${ENGINE.rule}`);
  return choice;
}

/** Who may use the control process beyond the socket's permissions: root, and the users named, or everybody. */
function admission(users: readonly string[] | undefined): (uid: number) => boolean {
  if (users === undefined) return () => true;
  const allowed = new Set([0, ...users.map((name) => idOf('user', name, '--allow-user'))]);
  return (uid) => allowed.has(uid);
}

function logged(say: Say): (event: FollowedEvent) => boolean {
  return (event) => {
    // Its time is the line's, and nearly the same.
    const { time: _, ...fields } = event;
    say('info', eventText(event), fields);
    return true;
  };
}

/** Only who asks for metrics pays for an HTTP server. */
async function scrapeable(place: string, status: Telling, log: Log): Promise<{ close(): unknown }> {
  const { parseMetricsPlace, serveMetrics } = await import('./metricsServer.ts');
  return serveMetrics(parseMetricsPlace(place), status, log);
}

/** Serves until SIGTERM or SIGINT. Throws ConfigError, EngineError or SysError where it can't begin. */
export async function serve(options: ControlOptions): Promise<void> {
  harden();
  // What a session leaves behind is garbage at once: with a young generation that grows, memory would wait for tens of
  // megabytes of it, and clients for the collection.
  setFlagsFromString('--semi-space-growth-factor=1');
  // It needs no secret of its own; a bad one is an error all the same.
  const policy = loadLoan();
  const { logLevel } = policy;
  const say = await (options.logFormat === 'json' ? sayJson(STDERR) : sayText(STDERR));
  const log = new Remembering(levelled(logLevel, say));
  // Rare, and of weight: said unless nothing is.
  const announce = (text: string) => {
    if (logLevel > 0) say('info', text);
  };
  const given = handedOver();
  const admits = admission(options.allowUser);
  const engine = createEngine(engineChoice(), memoryOf(given));
  let secrets: KeptSecrets | undefined;
  const subject = {
    engine,
    log,
    version: VERSION,
    owner: process.geteuid?.() ?? 0,
    secretName: (slot: number, at: number) => secrets?.set.nameOf(slot, at),
  };
  const status = new Telling(subject);
  const events = new Following(subject, status, channel.watch);
  const reading = new Reading();
  let server: ControlServer;
  let listener: Listener;
  let scraped: { close(): unknown } | undefined;
  try {
    const tell = { say: announce, complain: (text: string) => log.error(text) };
    secrets = keepSecrets(engine, options.secrets, { own: policy.secret, tell });
    if (options.metrics !== undefined) scraped = await scrapeable(options.metrics, status, log);
    listener = listen(options, given);
    server = new ControlServer(listener.fd, {
      engine,
      prompt: logLevel < LOG_EVERYTHING ? engine.prompt : undefined,
      ownPolicy: policy,
      secrets: secrets?.set,
      admits,
      localAddress: getsockname,
      watch: channel.watch,
      readFile: (file, take) => reading.read(file, take),
      log,
      telling: { status, events },
    });
    if (options.logEvents) events.follow('all', 0, logged(say));
  } catch (error) {
    scraped?.close();
    secrets?.close();
    engine.close();
    throw error;
  }
  const stop = () => {
    notify('STOPPING=1');
    server.close();
    events.close();
    scraped?.close();
    secrets?.close();
    listener.remove();
    engine.close({ purge: options.ephemeral ?? false });
    process.exit(0);
  };
  if (secrets !== undefined) process.on('SIGHUP', secrets.look);
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Last: whoever hears of it may send a signal at once.
  notify('READY=1');
  say('info', `ready on ${options.socket} (engine ${engine.name})`);
}
