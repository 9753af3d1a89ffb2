import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError } from '../config/error.ts';
import type { Policy } from '../config/policy.ts';
import { stderrLog } from '../control/log.ts';
import { ControlServer } from '../control/server.ts';
import { createEngine, type EngineChoice } from '../engine/select.ts';
import * as channel from '../sys/channel.ts';
import { SysError } from '../sys/error.ts';
import { getsockname } from '../sys/libc.ts';
import type { ControlOptions } from './control.ts';
import { loadLocalPolicy, loadLocalSettings } from './localPolicy.ts';

function groupId(name: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const id = line?.split(':')[2];
  if (id === undefined) throw new ConfigError(`--group ${name}: there is no such group`);
  return Number(id);
}

/** A socket file whose owner is gone is in the way; one that answers is another control process. */
function clearStale(path: string): void {
  if (!existsSync(path)) return;
  try {
    channel.close(channel.connect(path));
  } catch (error) {
    if (!(error instanceof SysError) || error.code !== 'ECONNREFUSED') throw error;
    unlinkSync(path);
    return;
  }
  throw new ConfigError(`another control process serves ${path}: stop it, or give this one another --socket`);
}

function listen({ socket, mode, group }: ControlOptions): number {
  mkdirSync(dirname(socket), { recursive: true, mode: 0o755 });
  clearStale(socket);
  const listener = channel.listen(socket);
  if (group !== undefined) chownSync(socket, -1, groupId(group));
  chmodSync(socket, mode);
  return listener;
}

/** The control process needs no secret of its own; a bad one is an error all the same. */
function ownPolicy(): Policy | undefined {
  return loadLocalSettings().secret === undefined ? undefined : loadLocalPolicy();
}

function engineChoice(): EngineChoice {
  const choice = process.env.KNOCK_ENGINE ?? 'auto';
  if (choice !== 'auto' && choice !== 'stock' && choice !== 'knock')
    throw new ConfigError(`KNOCK_ENGINE=${choice} (environment): must be auto, stock or knock`);
  return choice;
}

/** Serves until SIGTERM or SIGINT. Throws ConfigError, EngineError or SysError where it can't begin. */
export function serve(options: ControlOptions): void {
  const policy = ownPolicy();
  const log = stderrLog(policy?.logLevel ?? loadLocalSettings().logLevel ?? 1);
  const engine = createEngine(engineChoice());
  let server: ControlServer;
  try {
    server = new ControlServer(listen(options), {
      engine,
      ownPolicy: policy,
      localAddress: getsockname,
      watch: channel.watch,
      log,
    });
  } catch (error) {
    engine.close();
    throw error;
  }
  process.stderr.write(`knockify control: ready on ${options.socket} (engine ${engine.name})\n`);
  const stop = () => {
    server.close();
    unlinkSync(options.socket);
    engine.close({ purge: options.ephemeral ?? false });
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}
