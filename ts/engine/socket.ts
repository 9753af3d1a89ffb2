import { endianness } from 'node:os';
import { unmapped } from '../stealth/address.ts';
import type { Destination } from '../stealth/destination.ts';
import { SysError } from '../sys/error.ts';
import {
  AF_INET,
  AF_INET6,
  close,
  getBytes,
  getsockname,
  getUint,
  IPPROTO_MPTCP,
  IPPROTO_TCP,
  SOCK_STREAM,
  socket,
  writeIsn,
} from '../sys/libc.ts';
import { EngineError, type Peer } from './engine.ts';

/** The kernel's TCP states that matter here (include/net/tcp_states.h). */
export const TCP_STATE = { established: 1, synSent: 2, close: 7, listen: 10 } as const;

const EBADF = 9;
const ENOTSOCK = 88;
const COOKIE_BYTES = 8;

/** SO_NETNS_COOKIE (5.14) of a new socket: the network namespace that this process works in. */
export function ownNamespace(): bigint {
  const fd = socket(AF_INET, SOCK_STREAM, 0);
  try {
    return namespaceOf(fd);
  } finally {
    close(fd);
  }
}

/** Throws SysError where this process may not set sequence numbers, for which it needs CAP_NET_ADMIN. */
export function assertMaySetIsn(): void {
  const fd = socket(AF_INET, SOCK_STREAM, 0);
  try {
    writeIsn(fd, 0);
  } finally {
    close(fd);
  }
}

function namespaceOf(fd: number): bigint {
  return getBytes(fd, 'SO_NETNS_COOKIE', COOKIE_BYTES).readBigUInt64LE();
}

/** What tells a plain TCP socket of this network namespace from everything else. */
export interface Kind {
  /** -1 for a descriptor that is no socket. */
  readonly domain: number;
  readonly protocol: number;
  readonly type: number;
  /** SO_NETNS_COOKIE. */
  readonly network: bigint;
}

export function kindOf(fd: number): Kind {
  const nothing = { domain: -1, protocol: 0, type: 0, network: 0n };
  try {
    const [domain, protocol, type] = [
      getUint(fd, 'SO_DOMAIN'),
      getUint(fd, 'SO_PROTOCOL'),
      getUint(fd, 'SO_TYPE'),
    ];
    return { domain, protocol, type, network: namespaceOf(fd) };
  } catch (error) {
    if (error instanceof SysError && (error.errno === ENOTSOCK || error.errno === EBADF)) return nothing;
    throw error;
  }
}

/** Throws EngineError unless this is a TCP socket of the given network namespace. */
export function assertTcpSocket({ domain, protocol, type, network }: Kind, namespace: bigint): void {
  if (domain !== AF_INET && domain !== AF_INET6) {
    throw new EngineError('the descriptor is not an IPv4 or IPv6 socket');
  }
  if (protocol === IPPROTO_MPTCP) {
    throw new EngineError(
      'Multipath TCP sockets make several connections, whose sequence numbers nobody can set; make a plain TCP socket (protocol 0 or IPPROTO_TCP)',
    );
  }
  if (type !== SOCK_STREAM || protocol !== IPPROTO_TCP) {
    throw new EngineError('the descriptor is not a TCP socket');
  }
  if (network !== namespace) {
    throw new EngineError(
      'the socket belongs to another network namespace than the control process; start one control process in each',
    );
  }
}

/** tcpi_state. */
export function tcpState(fd: number): number {
  return getBytes(fd, 'TCP_INFO', 1)[0] ?? 0;
}

/** Sizes of `struct sockaddr_in`, and of `struct sockaddr_in6` without its scope. */
const SIZE_IN = 16;
const SIZE_IN6 = 24;

/** Address and port of a `struct sockaddr_in` or `sockaddr_in6`. Throws RangeError on anything else. */
export function endpointOf(sockaddr: Uint8Array): Destination {
  const view = new DataView(sockaddr.buffer, sockaddr.byteOffset, sockaddr.length);
  const family = sockaddr.length < 2 ? -1 : view.getUint16(0, endianness() === 'LE');
  if (family === AF_INET && sockaddr.length >= SIZE_IN)
    return { port: view.getUint16(2), address: Uint8Array.from(sockaddr.subarray(4, 8)) };
  if (family === AF_INET6 && sockaddr.length >= SIZE_IN6)
    return { port: view.getUint16(2), address: unmapped(Uint8Array.from(sockaddr.subarray(8, 24))) };
  throw new RangeError(
    `socket address of family ${family} and ${sockaddr.length} bytes is neither IPv4 nor IPv6`,
  );
}

/** The source address and port of a socket; the port is 0 if it is unbound. */
export function localAddress(fd: number): Destination {
  return endpointOf(getsockname(fd));
}

const ANY_IPV6_BECOMES = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/**
 * The destination that the SYN will name. It is what the application asked for, except that the kernel takes
 * the unspecified address for this machine: in IPv4 for the source address that it chose, in IPv6 for ::1
 * (or 127.0.0.1 on a socket that is bound to an IPv4-mapped address).
 */
export function wireAddress(peer: Peer, local: Uint8Array): Uint8Array {
  if (peer.address.some((byte) => byte !== 0)) return peer.address;
  return local.length === 4 ? local : ANY_IPV6_BECOMES;
}
