import cluster from 'node:cluster';
import { once } from 'node:events';
import type { Server } from 'node:net';
import * as channel from '../sys/channel.ts';
import { SysError } from '../sys/error.ts';
import { AF_INET6 } from '../sys/options.ts';
import * as tcp from '../sys/tcp.ts';
import { type ControlSession, controlPath, withSession } from './controlSession.ts';
import { checkedPort, type Endpoint, endpointOf, resolve } from './endpoint.ts';
import { asNetwork, networkError, StealthError } from './errors.ts';
import { inspectConnections } from './inspection.ts';
import { type Secret, secretBytes } from './secret.ts';
import { checkedLength, checkedReplay, type Replay, settingsOf } from './settings.ts';

/** As `net.Server` has it. */
const BACKLOG = 511;

/** This machine has no IPv6, or none here. */
const NO_IPV6 = ['EAFNOSUPPORT', 'EADDRNOTAVAIL'];

export interface ListenStealthOptions {
  /** 0 to 65535; 0 is the kernel's choice, which `server.address()` tells. */
  readonly port: number;
  /** A numeric address, or a name, whose first address counts. Default: `::`, or `0.0.0.0` where there is no IPv6. */
  readonly host?: string | undefined;
  readonly secret: Secret;
  /**
   * Integrity protection: how many of the client's first bytes the token covers, 0 to 1024. What does not match, or
   * is not all in the first segment, is reset and never becomes a 'connection'. Default: 0, authentication only.
   */
  readonly protectedLength?: number | undefined;
  /**
   * Whether somebody who saw a client's SYN may send it again from another address: 'reject' answers him as a closed
   * port would. Default: 'reject'.
   */
  readonly replay?: Replay | undefined;
  /** Connections that may wait to be accepted. Default: 511. */
  readonly backlog?: number | undefined;
  /** Path of the control process's socket. Default: $KNOCK_CONTROL, or else /run/knockify/control.sock. */
  readonly control?: string | undefined;
  /** Whether an IPv6 listener leaves IPv4 out. Default: false. */
  readonly ipv6Only?: boolean | undefined;
  /** Abandons the attempt; the promise rejects with the signal's reason. Afterwards, use `server.close()`. */
  readonly signal?: AbortSignal | undefined;
}

interface Plan {
  readonly port: number;
  readonly secret: Uint8Array;
  readonly protectedLength: number;
  readonly replay: Replay;
  readonly backlog: number;
  readonly control: string;
  readonly ipv6Only: boolean;
  readonly signal: AbortSignal;
}

/** A socket that listens behind a guard. */
interface Guarded {
  readonly fd: number;
  /** Whether accepted connections need the control process's inspection. */
  readonly inspect: boolean;
}

/**
 * In place of `server.listen()`: whoever lacks the secret meets a closed port (TCP Stealth). `server` is any
 * `net.Server` that does not listen yet, so also one of http, https, http2 or tls. Works by way of the control
 * process and without libknockify.so. Resolves once the server listens; it is an ordinary listening server then.
 * The guard is the kernel's and stays when the control process goes. With a protected length, though, that process
 * must be there for every new connection, or it is reset (and a process warning of type `StealthWarning` says so).
 *
 * Rejects with a StealthError where stealth can't be applied, a NetworkError where the kernel says no (EADDRINUSE), and
 * a RangeError for an option that makes no sense. Nothing listens then.
 *
 * In a program that libknockify.so is preloaded into, the library has its say as well: its KNOCK_ settings must make
 * sense, though what they say of secret and length does not count for this server.
 *
 * Not in a worker of `cluster`, whose listeners are its primary's: run separate processes instead. With a protected
 * length, connections are held back after Node has accepted them and before it tells the server. There is no
 * documented way to do that; a Node in which the undocumented one is missing is refused with a StealthError.
 */
export async function listenStealth(server: Server, options: ListenStealthOptions): Promise<void> {
  const plan = planOf(options);
  if (cluster.isWorker) throw new StealthError('listen', "a cluster worker's listeners are its primary's");
  const endpoints = await endpointsOf(options.host, plan);
  const { fd, inspect } = await guardFirst(endpoints, plan);
  handOver(server, fd, plan.backlog);
  // In the same turn: no connection has been accepted yet.
  if (inspect && !inspectConnections(server, plan.control)) {
    server.close();
    throw new StealthError('listen', `Node ${process.version} can't hold connections back to inspect them`);
  }
  await untilListening(server);
}

function planOf(options: ListenStealthOptions): Plan {
  const { signal = new AbortController().signal, backlog = BACKLOG, ipv6Only = false } = options;
  signal.throwIfAborted();
  return {
    port: checkedPort('port', options.port),
    secret: secretBytes(options.secret),
    protectedLength: checkedLength('protectedLength', options.protectedLength ?? 0, 0),
    replay: checkedReplay(options.replay ?? 'reject'),
    control: controlPath(options.control),
    backlog,
    ipv6Only,
    signal,
  };
}

/** What to try, in order. */
async function endpointsOf(host: string | undefined, { port, signal }: Plan): Promise<Endpoint[]> {
  if (host === undefined) return [endpointOf('::', port), endpointOf('0.0.0.0', port)];
  return (await resolve(host, port, { signal })).slice(0, 1);
}

async function guardFirst(endpoints: readonly Endpoint[], plan: Plan): Promise<Guarded> {
  const { fd, endpoint } = boundFirst(endpoints, plan);
  try {
    return { fd, inspect: await guard(fd, endpoint, plan) };
  } catch (error) {
    channel.close(fd);
    throw error;
  }
}

function boundFirst(
  [endpoint, fallback]: readonly Endpoint[],
  plan: Plan,
): { fd: number; endpoint: Endpoint } {
  if (endpoint === undefined) throw new RangeError('the host has no address');
  try {
    return { fd: bound(endpoint, plan), endpoint };
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (fallback === undefined || !NO_IPV6.includes(code)) throw error;
    return { fd: bound(fallback, plan), endpoint: fallback };
  }
}

function bound(endpoint: Endpoint, { ipv6Only }: Plan): number {
  const { family, sockaddr } = endpoint;
  return asNetwork('listen', endpoint, () => {
    const fd = tcp.socket(family);
    try {
      tcp.setInt(fd, 'SO_REUSEADDR', 1);
      if (family === AF_INET6) tcp.setInt(fd, 'IPV6_V6ONLY', ipv6Only ? 1 : 0);
      tcp.bind(fd, sockaddr);
      return fd;
    } catch (error) {
      channel.close(fd);
      throw error;
    }
  });
}

/** Makes a bound socket listen behind a guard. Returns whether its connections need inspection. */
async function guard(fd: number, endpoint: Endpoint, plan: Plan): Promise<boolean> {
  const { secret, protectedLength, replay, control, backlog, signal } = plan;
  return await withSession({ call: 'listen', control, signal }, async (session) => {
    const request = { kind: 'listen', ...settingsOf(secret, protectedLength, replay) } as const;
    const verdict = await session.expect('proceed', request, fd, endpoint);
    await listen(fd, endpoint, session, backlog);
    return verdict.follow === 1;
  });
}

async function listen(
  fd: number,
  endpoint: Endpoint,
  session: ControlSession,
  backlog: number,
): Promise<void> {
  try {
    tcp.listen(fd, backlog);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    await session.report(error.errno);
    throw networkError('listen', error.errno, endpoint);
  }
  const reason = await session.report(0);
  if (reason !== undefined) throw new StealthError('listen', reason);
}

async function untilListening(server: Server): Promise<void> {
  try {
    await once(server, 'listening');
  } catch (error) {
    // The server's own listen(), on a socket that is guarded already, goes by way of a preloaded library.
    if ((error as NodeJS.ErrnoException).code !== 'EPROTONOSUPPORT') throw error;
    const reason = 'libknockify.so is preloaded and refuses; its line on standard error says why';
    throw new StealthError('listen', reason);
  }
}

/** The server makes the descriptor its own. It calls listen() again, which only sets the backlog. */
function handOver(server: Server, fd: number, backlog: number): void {
  try {
    server.listen({ fd }, backlog);
  } catch (error) {
    channel.close(fd);
    throw error;
  }
}
