import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { endianness, networkInterfaces } from 'node:os';
import { parseAddress } from '../stealth/address.ts';
import { AF_INET, AF_INET6 } from '../sys/options.ts';
import { orAborted } from './patience.ts';

/** An address and a port as people write them and as the kernel takes them. */
export interface Endpoint {
  readonly family: number;
  readonly address: string;
  readonly port: number;
  /** `struct sockaddr_in` or `sockaddr_in6`. */
  readonly sockaddr: Uint8Array;
}

const SIZE_IN = 16;
const SIZE_IN6 = 28;

/** Throws RangeError unless the port is a whole number from `least` to 65535. */
export function checkedPort(name: string, port: number, least = 0): number {
  if (Number.isInteger(port) && port >= least && port <= 0xffff) return port;
  throw new RangeError(`${name} is ${port}; must be a whole number from ${least} to 65535`);
}

/** `address` is numeric; with IPv6 a zone may follow (`fe80::1%eth0`). Throws RangeError. */
export function endpointOf(address: string, port: number): Endpoint {
  const [numeric = '', zone] = address.split('%');
  const bytes = parseAddress(numeric);
  if (bytes === undefined) throw new RangeError(`'${address}' is not a numeric IP address`);
  const family = bytes.length === 4 ? AF_INET : AF_INET6;
  const sockaddr = Buffer.alloc(family === AF_INET ? SIZE_IN : SIZE_IN6);
  // Family and scope are in host byte order, the rest is in that of the network.
  const [write16, write32] =
    endianness() === 'LE'
      ? ([sockaddr.writeUInt16LE, sockaddr.writeUInt32LE] as const)
      : ([sockaddr.writeUInt16BE, sockaddr.writeUInt32BE] as const);
  write16.call(sockaddr, family, 0);
  sockaddr.writeUInt16BE(port, 2);
  sockaddr.set(bytes, family === AF_INET ? 4 : 8);
  if (zone !== undefined) write32.call(sockaddr, scopeOf(zone, address), 24);
  return { family, address, port, sockaddr };
}

function scopeOf(zone: string, address: string): number {
  if (/^\d+$/.test(zone)) return Number(zone);
  const entry = networkInterfaces()[zone]?.find(({ scopeid }) => scopeid !== undefined && scopeid > 0);
  if (entry?.scopeid === undefined) throw new RangeError(`'${address}': there is no interface ${zone}`);
  return entry.scopeid;
}

/** The endpoints of a host: itself if it is numeric, or else what the resolver says, in its order. */
export async function resolve(
  host: string,
  port: number,
  { family = 0, signal }: { readonly family?: 0 | 4 | 6 | undefined; readonly signal: AbortSignal },
): Promise<Endpoint[]> {
  if (isIP(host) !== 0) return [endpointOf(host, port)];
  const found = await orAborted(lookup(host, { all: true, verbatim: true, family }), signal);
  return found.map(({ address }) => endpointOf(address, port));
}
