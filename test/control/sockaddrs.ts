import { isIPv4 } from 'node:net';
import { endianness } from 'node:os';
import { parseAddress } from '../../ts/stealth/address.ts';

/** A `struct sockaddr_in` or `sockaddr_in6`, as the kernel takes it. */
export function sockaddrOf(address: string, port: number): Uint8Array {
  const bytes = parseAddress(address);
  if (bytes === undefined) throw new RangeError(address);
  const ipv4 = isIPv4(address);
  const sockaddr = Buffer.alloc(ipv4 ? 16 : 28);
  if (endianness() === 'LE') sockaddr.writeUInt16LE(ipv4 ? 2 : 10);
  else sockaddr.writeUInt16BE(ipv4 ? 2 : 10);
  sockaddr.writeUInt16BE(port, 2);
  sockaddr.set(bytes, ipv4 ? 4 : 8);
  return Uint8Array.from(sockaddr);
}
