import { parseAddress, unmapped } from './address.ts';

/** What the token covers of a destination: address and TCP port. */
export interface Destination {
  /** Network byte order, 4 bytes or 16; an IPv4-mapped IPv6 address is given as its 4 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
}

/** Destination from the text form of a numeric address. Throws RangeError that names the input. */
export function destinationOf(address: string, port: number): Destination {
  const bytes = parseAddress(address);
  if (bytes === undefined) {
    throw new RangeError(`"${address}" is not a numeric IPv4 or IPv6 address (host names are not looked up)`);
  }
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) {
    throw new RangeError(`port ${port} is not a whole number from 0 to 65535`);
  }
  return { address: unmapped(bytes), port };
}
