import { readFileSync, statSync } from 'node:fs';
import { homedir, release } from 'node:os';
import { join } from 'node:path';
import { KEYS } from '../config/keys.ts';
import { MOST_SECRETS } from '../config/secretNames.ts';
import { type Settings, secretsOf } from '../config/settings.ts';
import { readFolder, wipe, withoutTwins } from '../control/secretFolder.ts';
import { refusalText } from '../control/secretWatch.ts';
import { fingerprint } from '../stealth/secret.ts';
import { countCapabilities, missingCapabilities } from '../sys/capabilities.ts';
import { bad, type Finding, failure, note, ok } from './finding.ts';
import { checkLocalSecrets, loadLocalPolicy, loadLocalSettings } from './localPolicy.ts';
import { type Environment, findLibrary, preloadVariable, proveLoads } from './preload.ts';
import { preloadable } from './program.ts';
import type { Reach } from './reachControl.ts';
import type { Trial } from './trial.ts';

/** What the checks look at. */
export interface Surroundings {
  readonly env: Environment;
  readonly reach: Reach;
  readonly trial: Trial;
  /** The folder of named secrets. */
  readonly secrets: string;
}

interface Check {
  readonly name: string;
  /** May throw; what it throws is then what was found. */
  look(around: Surroundings): Finding | Promise<Finding>;
}

/** In the order in which they are made and shown. */
export const CHECKS: readonly Check[] = [
  { name: 'kernel', look: () => note(`Linux ${release()}; what it can do is tried below`) },
  { name: 'capabilities', look: capabilities },
  { name: 'control process', look: control },
  { name: 'libbpf', look: libbpf },
  { name: 'BPF and tc', look: ({ trial }) => trial.engine() },
  { name: 'arming a client', look: ({ trial }) => trial.client() },
  { name: 'guarding a listener', look: ({ trial }) => trial.server() },
  { name: 'tcp_fastopen', look: fastOpen },
  { name: 'tcp_fastopen_blackhole_timeout_sec', look: blackholeTimeout },
  { name: 'tcp_timestamps', look: timestamps },
  { name: 'tcp_syncookies', look: () => note(sysctl('tcp_syncookies')) },
  { name: 'libknockify.so', look: library },
  { name: 'rc file', look: rcFile },
  { name: 'environment', look: environment },
  { name: 'secret', look: secret },
  { name: 'named secrets', look: namedSecrets },
];

const NEEDED = ['CAP_NET_ADMIN', 'CAP_BPF'] as const;

function capabilities({ reach }: Surroundings): Finding {
  const missing = missingCapabilities(NEEDED).join(' and ');
  const more = countCapabilities() - NEEDED.length;
  const user = `user ${process.geteuid?.()}`;
  if (missing === '' && more <= 0) return ok(`${user} with ${NEEDED.join(' and ')}, and no others`);
  if (missing === '')
    return ok(`${user} with ${NEEDED.join(' and ')}, and ${more} others that are not needed`);
  if (reach.state === 'serves') return note(`no ${missing}; the control process has what it needs`);
  return bad(
    `no ${missing}, and no control process that has`,
    "start 'knockify control' as root, or this as root",
  );
}

function control({ reach: { socket, state, reason } }: Surroundings): Finding {
  switch (state) {
    case 'serves':
      return ok(`serves ${socket}`);
    case 'denied':
      return bad(`${socket}: this user can't use it (${reason})`, 'start it with another --group or --mode');
    case 'absent':
      return note(
        `none at ${socket} (${reason}); 'knockify run' starts its own, for more than that: knockify control`,
      );
  }
}

async function libbpf({ reach }: Surroundings): Promise<Finding> {
  try {
    await import('../sys/libbpf.ts');
    return ok('libbpf.so.1 loads');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return reach.state === 'serves' ? note(why) : bad(why, 'apt-get install libbpf1');
  }
}

function sysctl(name: string): string {
  return readFileSync(`/proc/sys/net/ipv4/${name}`, 'latin1').trim();
}

/** The delayed connect, by which T is learned and payload gathered, is a part of TCP Fast Open. */
function fastOpen(): Finding {
  const value = Number(sysctl('tcp_fastopen'));
  if ((value & 1) === 1) return ok(String(value));
  return bad(`${value}: its client bit is off`, `sysctl net.ipv4.tcp_fastopen=${value | 1}`, ['client']);
}

function blackholeTimeout(): Finding {
  const value = sysctl('tcp_fastopen_blackhole_timeout_sec');
  if (value === '0') return ok(value);
  const remedy = 'sysctl net.ipv4.tcp_fastopen_blackhole_timeout_sec=0';
  return bad(`${value}: the kernel may stop delaying connects for that long`, remedy, ['client']);
}

function timestamps(): Finding {
  const value = sysctl('tcp_timestamps');
  if (value !== '0') return ok(value);
  return note(
    '0: works, but all tokens for one destination are then the same; better: sysctl net.ipv4.tcp_timestamps=1',
  );
}

function library({ env }: Surroundings): Finding {
  const { path, elf } = findLibrary();
  const [program = process.execPath] = preloadable(process.execPath, { library: elf, path: env.PATH });
  proveLoads(program, path, { ...env, LD_PRELOAD: preloadVariable(path) });
  return ok(`${path} loads`);
}

function rcFile({ env }: Surroundings): Finding {
  const { KNOCK_RC, HOME } = env;
  const settings = loadLocalSettings({ KNOCK_RC, HOME });
  const path = KNOCK_RC ?? join(HOME || homedir(), '.knockrc');
  const names = Object.keys(KEYS) as (keyof typeof KEYS)[];
  const count = names.filter((name) => settings[name] !== undefined).length;
  const { length } = settings.sections;
  forget(settings);
  if (count + length === 0) return note(`${path} sets nothing`);
  const sections = length === 0 ? '' : `, and some for ${length} sets of targets`;
  return ok(`${path} sets ${count} of ${names.length} keys${sections}`);
}

function forget(settings: Settings): void {
  for (const secret of secretsOf(settings)) secret.fill(0);
}

/** Nobody's home: no rc file is there. */
const NOWHERE = '/dev/null';

function environment({ env }: Surroundings): Finding {
  const { KNOCK_RC: _, ...others } = env;
  const settings = loadLocalSettings({ ...others, HOME: NOWHERE });
  const names = Object.keys(env).filter((name) => name.startsWith('KNOCK_'));
  forget(settings);
  return names.length > 0 ? ok(names.join(' ')) : note('sets nothing');
}

function secret({ env, reach }: Surroundings): Finding {
  const settings = loadLocalSettings(env);
  const { sections } = settings;
  forget(settings);
  if (settings.secret === undefined && sections.some((section) => section.secret !== undefined)) {
    checkLocalSecrets(env);
    return ok('for some targets only: all others need one, or KNOCK_TARGETS to leave them alone');
  }
  if (settings.secret === undefined && reach.state === 'serves')
    return note('none here: only the control process can have one, and it lends it');
  const policy = loadLocalPolicy(env);
  const shown = fingerprint(policy.secret);
  policy.secret.fill(0);
  return ok(`fingerprint ${shown}`);
}

/** Undefined where there is nothing, or nothing to be seen. */
function ownerOf(path: string): number | undefined {
  try {
    return statSync(path).uid;
  } catch {
    return undefined;
  }
}

/** As the control process sees them, if it runs as the folder's owner. */
function namedSecrets({ secrets: path }: Surroundings): Finding {
  const user = ownerOf(path);
  if (user === undefined) return note(`none: there is no ${path} for this user`);
  const contents = readFolder(path, { user, now: Date.now() });
  const refused = [...contents.refused];
  const found = withoutTwins(path, contents.found, refused);
  wipe(contents.found);
  const old = found.filter(({ until }) => until !== undefined).length;
  const count = `${path} has ${found.length - old}${old === 0 ? '' : `, and ${old} old that are still valid`}`;
  if (found.length > MOST_SECRETS)
    return bad(count, `only ${MOST_SECRETS} are accepted: knockify secret revoke`, []);
  if (refused.length === 0) return ok(count);
  if (refused.some((one) => one.path === path)) return note(refused.map(refusalText).join(' | '));
  return bad(`${count}; ${refused.map(refusalText).join(' | ')}`, undefined, []);
}

/** Makes one check. */
export async function look({ look }: Check, around: Surroundings): Promise<Finding> {
  try {
    return await look(around);
  } catch (error) {
    return failure(error);
  }
}
