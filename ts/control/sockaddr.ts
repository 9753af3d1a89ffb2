import { endianness } from 'node:os';
import type { Peer } from '../engine/engine.ts';
import { unmapped } from '../stealth/address.ts';

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
    return { sockaddr, port: view.getUint16(2), address: unmapped(address) };
  }
  throw new RangeError(
    `socket address of family ${family} and ${sockaddr.length} bytes is neither IPv4 nor IPv6`,
  );
}

/** `192.0.2.1:22` or `[2001:db8::1]:22`, for messages. */
export function describePeer({ address, port }: Peer): string {
  if (address.length === 4) return `${address.join('.')}:${port}`;
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((address[2 * i] ?? 0) << 8) | (address[2 * i + 1] ?? 0)).toString(16),
  );
  return `[${groups
    .join(':')
    .replace(/\b(?:0:){2,}0?/, ':')
    .replace(/^:(?!:)/, '::')}]:${port}`;
}
