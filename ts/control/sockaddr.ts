import type { Peer } from '../engine/engine.ts';
import { endpointOf } from '../engine/socket.ts';
import type { Destination } from '../stealth/destination.ts';

/** Takes a `struct sockaddr_in` or `sockaddr_in6` apart. Throws RangeError on anything else. */
export function parseSockaddr(sockaddr: Uint8Array): Peer {
  return { sockaddr, ...endpointOf(sockaddr) };
}

/** `192.0.2.1:22` or `[2001:db8::1]:22`, for messages. */
export function describePeer({ address, port }: Destination): string {
  const text = describeAddress(address);
  return address.length === 4 ? `${text}:${port}` : `[${text}]:${port}`;
}

/** `192.0.2.1` or `2001:db8::1`. */
export function describeAddress(address: Uint8Array): string {
  if (address.length === 4) return address.join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((address[2 * i] ?? 0) << 8) | (address[2 * i + 1] ?? 0)).toString(16),
  );
  return groups
    .join(':')
    .replace(/\b(?:0:){2,}0?/, ':')
    .replace(/^:(?!:)/, '::');
}
