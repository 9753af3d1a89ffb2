import { endianness } from 'node:os';
import type { Peer } from '../engine/engine.ts';
import { destinationOf } from '../stealth/destination.ts';

const AF_INET = 2;
const AF_INET6 = 10;

/** Sizes of `struct sockaddr_in`, and of `struct sockaddr_in6` without and with its scope. */
const SIZE_IN = 16;
const SIZE_IN6 = 24;

/** Takes a `struct sockaddr_in` or `sockaddr_in6` apart. Throws RangeError on anything else. */
export function parseSockaddr(sockaddr: Uint8Array): Peer {
  const view = new DataView(sockaddr.buffer, sockaddr.byteOffset, sockaddr.length);
  const family = sockaddr.length < 2 ? -1 : view.getUint16(0, endianness() === 'LE');
  if (family === AF_INET && sockaddr.length >= SIZE_IN)
    return { sockaddr, port: view.getUint16(2), address: sockaddr.slice(4, 8) };
  if (family === AF_INET6 && sockaddr.length >= SIZE_IN6) {
    const address = sockaddr.slice(8, 24);
    const mapped = address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 0xff && address[11] === 0xff;
    return { sockaddr, port: view.getUint16(2), address: mapped ? address.slice(12) : address };
  }
  throw new RangeError(`socket address of family ${family} and ${sockaddr.length} bytes is neither IPv4 nor IPv6`);
}

/**
 * The destination on the wire. Connecting to the unspecified address reaches this host: Linux puts the socket's own
 * address in its place, or loopback (ip_route_output_key, tcp_v6_connect), and the token covers what is sent.
 */
export function wirePeer(peer: Peer, local: Peer | undefined): Peer {
  if (peer.address.some((byte) => byte !== 0)) return peer;
  const bound = local?.address.some((byte) => byte !== 0) ? local.address : undefined;
  if (peer.address.length === 4 && bound?.length === 4) return { ...peer, address: bound };
  const mapped = peer.address.length === 4 || bound?.length === 4;
  return { ...peer, address: destinationOf(mapped ? '127.0.0.1' : '::1', peer.port).address };
}

/** `192.0.2.1:22` or `[2001:db8::1]:22`, for messages. */
export function describePeer({ address, port }: Peer): string {
  if (address.length === 4) return `${address.join('.')}:${port}`;
  const groups = Array.from({ length: 8 }, (_, i) => (((address[2 * i] ?? 0) << 8) | (address[2 * i + 1] ?? 0)).toString(16));
  return `[${groups.join(':').replace(/\b(?:0:){2,}0?/, ':').replace(/^:(?!:)/, '::')}]:${port}`;
}
