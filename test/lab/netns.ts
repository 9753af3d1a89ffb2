import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { patient } from './slowness.ts';

/**
 * Two network namespaces joined by a veth pair. Nothing that happens in a lab is seen outside of it.
 * Names carry the process id, so labs of parallel and of aborted runs don't collide.
 */

export type Family = 'ipv4' | 'ipv6' | 'mapped';

/** Textual addresses of one end of the veth pair; `mapped` is the IPv4 address as an AF_INET6 socket names it. */
export type Addresses = Readonly<Record<Family, string>>;

/** One end of the lab: a network namespace with its interface. */
export interface Host {
  readonly name: 'client' | 'server';
  readonly namespace: string;
  readonly device: string;
  readonly mac: string;
  readonly addresses: Addresses;
}

export interface Lab {
  readonly client: Host;
  readonly server: Host;
  /** Removed with the lab. */
  readonly directory: string;
  /** Kills what still runs in the namespaces and removes them. May be called more than once. */
  close(): void;
}

const PREFIX = 'knocklab';
const ADDRESSES: Readonly<Record<Host['name'], Addresses>> = {
  client: { ipv4: '192.0.2.1', ipv6: '2001:db8::1', mapped: '::ffff:192.0.2.1' },
  server: { ipv4: '192.0.2.2', ipv6: '2001:db8::2', mapped: '::ffff:192.0.2.2' },
};
const MACS = { client: '02:00:00:00:02:01', server: '02:00:00:00:02:02' } as const;

const open = new Set<Lab>();
let labs = 0;

/** Needs root: throws a message that says so. */
export function openLab(): Lab {
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root: run this as root');
  closeAtExit();
  sweep();
  const id = `${PREFIX}-${process.pid}-${labs++}`;
  const directory = mkdtempSync(join(tmpdir(), `${id}-`));
  const client = host('client', id);
  const server = host('server', id);
  const lab: Lab = {
    client,
    server,
    directory,
    close() {
      if (!open.delete(lab)) return;
      for (const end of [client, server]) removeNamespace(end.namespace);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  open.add(lab);
  try {
    build(client, server);
  } catch (error) {
    lab.close();
    throw error;
  }
  return lab;
}

function host(name: Host['name'], id: string): Host {
  return {
    name,
    namespace: `${id}-${name}`,
    device: 'lab0',
    mac: MACS[name],
    addresses: ADDRESSES[name],
  };
}

function build(client: Host, server: Host): void {
  const pair = [`kl${process.pid % 100000}c${labs}`, `kl${process.pid % 100000}s${labs}`] as const;
  ip(`netns add ${client.namespace}`, `netns add ${server.namespace}`);
  ip(`link add ${pair[0]} address ${client.mac} type veth peer name ${pair[1]} address ${server.mac}`);
  ip(`link set ${pair[0]} netns ${client.namespace} name ${client.device}`);
  ip(`link set ${pair[1]} netns ${server.namespace} name ${server.device}`);
  for (const end of [client, server]) {
    setSysctl(end, 'net.ipv6.conf.all.accept_dad', 0);
    // Router solicitations would be strangers in a capture.
    setSysctl(end, `net.ipv6.conf.${end.device}.router_solicitations`, 0);
    // Checksums are then complete in a capture, and a large write shows as the segments that it really becomes.
    inside(end, ['ethtool', '-K', end.device, 'tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off']);
    inNamespace(
      end,
      'link set lo up',
      `addr add ${end.addresses.ipv4}/24 dev ${end.device}`,
      `addr add ${end.addresses.ipv6}/64 dev ${end.device} nodad`,
      `link set ${end.device} up`,
    );
  }
  for (const [end, other] of [
    [client, server],
    [server, client],
  ] as const) {
    setNeighbour(end, other, other.mac);
  }
}

function ip(...commands: string[]): void {
  execFileSync('ip', ['-batch', '-'], { input: `${commands.join('\n')}\n`, stdio: ['pipe', 'pipe', 'pipe'] });
}

function inNamespace(end: Host, ...commands: string[]): void {
  execFileSync('ip', ['-netns', end.namespace, '-batch', '-'], {
    input: `${commands.join('\n')}\n`,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

/** Runs a short command to its end and returns its standard output; throws when it fails. */
export function inside(end: Host, command: readonly string[]): string {
  return execFileSync('ip', ['netns', 'exec', end.namespace, ...command], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: patient(20_000),
  });
}

export function setSysctl(end: Host, key: string, value: number | string): void {
  inside(end, ['sysctl', '-qw', `${key}=${value}`]);
}

/** Where `from` sends what is meant for `to`. An address that nobody has loses the packets after they were captured. */
function setNeighbour(from: Host, to: Host, mac: string): void {
  inNamespace(
    from,
    `neigh replace ${to.addresses.ipv4} lladdr ${mac} dev ${from.device} nud permanent`,
    `neigh replace ${to.addresses.ipv6} lladdr ${mac} dev ${from.device} nud permanent`,
  );
}

/** An address that no interface of a lab has. */
export const NOBODY = '02:00:00:00:02:ff';

/** From now on what `from` sends is on the wire, and is lost there. Returns what ends that. */
export function loseEverythingFrom(lab: Lab, from: Host): () => void {
  const to = from === lab.client ? lab.server : lab.client;
  setNeighbour(from, to, NOBODY);
  return () => setNeighbour(from, to, to.mac);
}

/** Process ids in a namespace. Nothing but what a lab started ever runs in it. */
function processesIn(namespace: string): number[] {
  const listed = execFileSync('ip', ['netns', 'pids', namespace], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return listed.split('\n').filter(Boolean).map(Number);
}

function removeNamespace(namespace: string): void {
  try {
    // Twice: a process may be forking while it is listed.
    for (let round = 0; round < 2; round++) {
      for (const pid of processesIn(namespace)) killProcess(pid);
    }
    ip(`netns del ${namespace}`);
  } catch {
    // It was never made, or somebody else's sweep was quicker.
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

/** Removes the labs of processes that were killed before they could do it themselves. */
function sweep(): void {
  let names: string[] = [];
  try {
    names = readdirSync('/run/netns');
  } catch {
    return;
  }
  for (const name of names) {
    const owner = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1];
    if (owner !== undefined && !isAlive(Number(owner))) removeNamespace(name);
  }
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1];
    if (owner !== undefined && !isAlive(Number(owner)))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

let closing = false;

function closeAtExit(): void {
  if (closing) return;
  closing = true;
  const closeAll = () => {
    for (const lab of [...open]) lab.close();
  };
  process.on('exit', closeAll);
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.on(signal, () => {
      closeAll();
      process.exit(128 + number);
    });
  }
}
