import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Host, inside, type Lab } from '../lab/netns.ts';
import { type Outcome, run, until } from '../lab/program.ts';

/**
 * A machine of its own: systemd as process 1 on an overlay over this one's file system, in the network namespace of a
 * lab's host. Nothing in it is running but what belongs to basic.target, and what the test starts.
 */
export interface Machine {
  /** Its file system as seen from here. */
  readonly root: string;
  /** Runs a shell script in it, which ends with the first command that fails. */
  sh(script: string, timeout?: number): Promise<Outcome>;
  /** Makes what is now what `changes` compares with; at first that is what was there after booting. */
  mark(): void;
  /** Paths of files that came, went or changed. */
  changes(): string[];
  /** Ends it, and with it everything in it and of it. */
  close(): Promise<void>;
}

const BOOT = fileURLToPath(new URL('machine.sh', import.meta.url));
const BOOT_TIMEOUT = 60_000;
const DPKG_TIMEOUT = 300_000;
const CLEAN = ['env', '-i', 'HOME=/root', 'LC_ALL=C.UTF-8', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin'];

export async function bootMachine(lab: Lab, host: Host): Promise<Machine> {
  // A package database that is being written would be a broken one there.
  await until("this machine's dpkg", () => readdirSync('/var/lib/dpkg/updates').length === 0, DPKG_TIMEOUT);
  const boot = spawn('unshare', ['--mount', 'bash', BOOT, lab.directory, host.namespace], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said: Buffer[] = [];
  for (const stream of [boot.stdout, boot.stderr]) stream.on('data', (chunk: Buffer) => said.push(chunk));
  const ended = new Promise((resolve) => boot.once('close', resolve));
  const leader = await untilForked(host, () => {
    if (boot.exitCode !== null) throw new Error(`the machine does not boot:\n${Buffer.concat(said)}`);
  });
  const sh = (script: string, timeout = 60_000) =>
    run(host, ['nsenter', `--target=${leader}`, '--all', ...CLEAN, 'sh', '-ec', `cd\n${script}`], {
      timeout,
    });
  // Fails as long as nobody answers, and where a unit of basic.target failed.
  await until('systemd', () => existsSync(`/proc/${leader}/root/run/systemd/private`), BOOT_TIMEOUT);
  await sh('systemctl is-system-running --wait || systemctl --failed >&2');
  // Until then nobody but root may log in.
  await sh('systemctl start systemd-user-sessions.service');
  const upper = `/proc/${boot.pid}/root${lab.directory}/memory/changes`;
  let baseline = new Map(differences(upper));
  return {
    root: `/proc/${leader}/root`,
    sh,
    mark: () => {
      baseline = new Map(differences(upper));
    },
    changes: () => {
      const now = new Map(differences(upper));
      const paths = new Set([...baseline.keys(), ...now.keys()]);
      return [...paths].filter((path) => now.get(path) !== baseline.get(path)).sort();
    },
    close: async () => {
      process.kill(leader, 'SIGKILL');
      await ended;
    },
  };
}

/** Process id of systemd, as soon as it has become that. */
async function untilForked(host: Host, check: () => void): Promise<number> {
  for (const deadline = Date.now() + BOOT_TIMEOUT; Date.now() < deadline; await sleep(50)) {
    check();
    const pids = inside(host, ['ip', 'netns', 'pids', host.namespace]).split('\n').map(Number);
    const leader = pids.find((pid) => commandOf(pid) === 'systemd');
    if (leader !== undefined) return leader;
  }
  throw new Error(`systemd did not start within ${BOOT_TIMEOUT} ms`);
}

function commandOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1').trim();
  } catch {
    return undefined;
  }
}

/** What a file is like: enough to tell whether it changed. */
type Likeness = string;

/** Files of an overlay's upper layer that differ from the one below, which is this machine's. */
function differences(upper: string, at = ''): [path: string, likeness: Likeness][] {
  return readdirSync(`${upper}${at}`, { withFileTypes: true }).flatMap((entry) => {
    const path = join(at || '/', entry.name);
    const [ours, theirs] = [likeness(`${upper}${path}`), likeness(path)];
    const within = entry.isDirectory() ? differences(upper, path) : [];
    return ours === theirs ? within : [[path, ours] as [string, Likeness], ...within];
  });
}

function likeness(path: string): Likeness {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined || isWhiteout(stat)) return 'gone';
  const content = stat.isSymbolicLink() ? readlinkSync(path) : stat.isFile() ? digest(path) : '';
  return [stat.mode.toString(8), stat.uid, stat.gid, content].join(' ');
}

function digest(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** How overlayfs notes that a file of the lower layer was removed. */
function isWhiteout(stat: Stats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0;
}
