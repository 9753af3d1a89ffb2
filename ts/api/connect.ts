import { isIP, Socket } from 'node:net';
import { SOCKADDR_SIZE } from '../spec/messages.ts';
import * as channel from '../sys/channel.ts';
import * as tcp from '../sys/tcp.ts';
import { type ControlSession, controlPath, type Purpose, withSession } from './controlSession.ts';
import { checkedPort, type Endpoint, endpointOf, resolve } from './endpoint.ts';
import { asNetwork, networkError, StealthError } from './errors.ts';
import { limited, untilReady } from './patience.ts';
import { type Secret, secretBytes } from './secret.ts';
import { checkedLength, settingsOf } from './settings.ts';

const EINPROGRESS = 115;
const ECONNABORTED = 103;
const ETIMEDOUT = 110;

export interface ConnectStealthOptions {
  /** A numeric address, or a name: then its addresses are tried one after another, in the resolver's order. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
  readonly secret: Secret;
  /**
   * Integrity protection: the first bytes of the connection, 1 to 1024 of them, that the token on the SYN covers. As
   * many as the server's protected length. They are sent by the time the promise resolves, in one segment: don't write
   * them again. Absent: authentication only.
   */
  readonly payload?: Uint8Array | undefined;
  /** Path of the control process's socket. Default: $KNOCK_CONTROL, or else /run/knockify/control.sock. */
  readonly control?: string | undefined;
  /** Milliseconds for the whole of it, all addresses included; then ETIMEDOUT. Default: as long as the kernel tries. */
  readonly timeout?: number | undefined;
  /** The numeric address to connect from. */
  readonly localAddress?: string | undefined;
  /** The port to connect from. Default: the kernel's choice. */
  readonly localPort?: number | undefined;
  /** Which addresses of a name to try. Default: that of `localAddress`, or else both. */
  readonly family?: 0 | 4 | 6 | undefined;
  /** Abandons the attempt; the promise rejects with the signal's reason. Has no effect on the connected socket. */
  readonly signal?: AbortSignal | undefined;
  /** As of `net.Socket`. Default: false. */
  readonly allowHalfOpen?: boolean | undefined;
}

interface Plan {
  readonly secret: Uint8Array;
  readonly payload: Uint8Array | undefined;
  readonly control: string;
  readonly local: Endpoint | undefined;
}

/**
 * Opens a TCP connection whose SYN carries the token of the secret (TCP Stealth), by way of the control process and
 * without libknockify.so. Resolves to a connected socket; 'connect' is not emitted any more. Of use to whatever takes
 * a socket: `tls.connect({ socket })`, or `http.request` by its `createConnection` option (and without an agent).
 *
 * Rejects with a StealthError where stealth can't be applied, a NetworkError where the network says no (ECONNREFUSED:
 * nothing listens there, or the secrets differ), a RangeError for an option that makes no sense, and with what
 * `dns.lookup` says of a name. The environment's KNOCK_ variables and .knockrc have no say, but for KNOCK_CONTROL.
 */
export async function connectStealth(options: ConnectStealthOptions): Promise<Socket> {
  const { host, localAddress, allowHalfOpen = false } = options;
  const port = checkedPort('port', options.port, 1);
  const plan = planOf(options);
  const family = options.family ?? (localAddress === undefined ? 0 : (isIP(localAddress) as 0 | 4 | 6));
  const late = () => networkError('connect', ETIMEDOUT, { address: host, port });
  const fd = await limited({ ms: options.timeout, late, signal: options.signal }, async (signal) => {
    const endpoints = await resolve(host, port, { family, signal });
    return await firstOf(endpoints, plan, signal);
  });
  return new Socket({ fd, readable: true, writable: true, allowHalfOpen });
}

function planOf(options: ConnectStealthOptions): Plan {
  const { payload, localAddress, localPort } = options;
  if (payload !== undefined) checkedLength('payload.length', payload.length, 1);
  if (localPort !== undefined && localAddress === undefined)
    throw new RangeError('localPort is given without localAddress');
  return {
    secret: secretBytes(options.secret),
    // Whoever changes the bytes while the SYN is on its way would change what was promised.
    payload: payload && Uint8Array.from(payload),
    control: controlPath(options.control),
    local:
      localAddress === undefined
        ? undefined
        : endpointOf(localAddress, checkedPort('localPort', localPort ?? 0)),
  };
}

async function firstOf(endpoints: readonly Endpoint[], plan: Plan, signal: AbortSignal): Promise<number> {
  let failure: unknown;
  for (const endpoint of endpoints) {
    try {
      return await connectTo(endpoint, plan, signal);
    } catch (error) {
      // Without a control process no other address will do better.
      if (error instanceof StealthError || signal.aborted) throw error;
      failure = error;
    }
  }
  throw failure;
}

/** A connected descriptor. */
async function connectTo(endpoint: Endpoint, plan: Plan, signal: AbortSignal): Promise<number> {
  const fd = asNetwork('connect', endpoint, () => tcp.socket(endpoint.family));
  try {
    const { local } = plan;
    if (local !== undefined) asNetwork('connect', local, () => tcp.bind(fd, local.sockaddr));
    await knock(fd, endpoint, plan, signal);
    return fd;
  } catch (error) {
    channel.close(fd);
    throw error;
  }
}

/** With a payload the connect is faked first, and the payload asked for afterwards, as with any program. */
async function knock(fd: number, endpoint: Endpoint, plan: Plan, signal: AbortSignal): Promise<void> {
  const { secret, payload, control } = plan;
  const purpose: Purpose = { call: 'connect', control, signal };
  const peer = new Uint8Array(SOCKADDR_SIZE);
  peer.set(endpoint.sockaddr);
  const peer_size = endpoint.sockaddr.length;
  await withSession(purpose, async (session) => {
    const settings = settingsOf(secret, payload?.length ?? 0);
    const expected = payload === undefined ? 'proceed' : 'deferred';
    await session.expect(expected, { kind: 'connect', ...settings, peer, peer_size }, fd, endpoint);
    if (payload === undefined) await settle(fd, endpoint, session, signal);
  });
  if (payload === undefined) return;
  await withSession(purpose, async (session) => {
    await session.expect('proceed', { kind: 'send', payload }, fd, endpoint);
    await settle(fd, endpoint, session, signal, payload);
  });
}

/** The real connect of an armed socket, and the report of it. */
async function settle(
  fd: number,
  endpoint: Endpoint,
  session: ControlSession,
  signal: AbortSignal,
  payload?: Uint8Array,
): Promise<void> {
  // In repair mode a socket "connects" without sending anything.
  if (tcp.getInt(fd, 'TCP_REPAIR') !== 0)
    throw new StealthError('connect', 'the socket was left in repair mode');
  const errno = await establish(fd, endpoint, signal);
  if (errno === 0 && payload !== undefined) sendFirst(fd, endpoint, payload);
  const reason = await session.report(errno);
  if (reason !== undefined) throw new StealthError('connect', reason);
  if (errno === ECONNABORTED)
    throw new StealthError('connect', "the SYN was held back; the control process's log says why");
  if (errno !== 0) throw networkError('connect', errno, endpoint);
}

/** In one segment: a new connection has nothing in its queue, and room for far more. */
function sendFirst(fd: number, endpoint: Endpoint, payload: Uint8Array): void {
  const sent = asNetwork('connect', endpoint, () => tcp.send(fd, payload));
  if (sent !== payload.length)
    throw new StealthError(
      'connect',
      `the kernel took ${sent} of the ${payload.length} bytes of the payload`,
    );
}

/** 0 once connected, or the errno. */
async function establish(fd: number, { sockaddr }: Endpoint, signal: AbortSignal): Promise<number> {
  const begun = tcp.connect(fd, sockaddr);
  if (begun !== EINPROGRESS) return begun;
  await untilReady(fd, 'writable', signal);
  const errno = tcp.getInt(fd, 'SO_ERROR');
  // The control process takes a connect back whose SYN did not leave as it should; no error is left then.
  return errno === 0 && !tcp.isConnected(fd) ? ECONNABORTED : errno;
}
