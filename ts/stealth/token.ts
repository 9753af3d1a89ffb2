import { createHash } from 'node:crypto';
import type { Destination } from './destination.ts';
import { md5Round } from './md5.ts';
import { assertSecret } from './secret.ts';

/** What MD5 begins with (RFC 1321 section 3.3), in the order of its bytes. */
const MD5_START = Uint8Array.from([
  1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10,
]);

/** What the token of one SYN is made of. */
export interface TokenInput {
  /** The shared secret, 64 bytes (`padSecret`). */
  readonly secret: Uint8Array;
  readonly destination: Destination;
  /** TSval of the SYN, 32 bit; 0 when it carries no timestamp option (draft section 3). */
  readonly tsval: number;
  /** IH of the protected payload, 16 bit; absent in auth mode (draft section 3.1). */
  readonly integrityHash?: number | undefined;
}

/** A token taken apart. All numbers are unsigned integers; the TCP header carries `isn` big-endian. */
export interface Token {
  readonly isn: number;
  /** AV, 32 bit. */
  readonly authenticator: number;
  /** IH, 16 bit; undefined in auth mode. */
  readonly integrityHash: number | undefined;
}

/**
 * The stealth ISN of draft sections 3.1 and 3.2. An ISN of 0 is a valid token that no stock kernel sends:
 * whoever arms a socket takes another TSval then. Throws RangeError on input that has no token.
 */
export function computeToken({ secret, destination, tsval, integrityHash }: TokenInput): Token {
  assertSecret(secret);
  const [a = 0, b = 0, c = 0, d = 0] = md5Round(initialVector(destination, tsval, integrityHash), secret);
  const authenticator = (a ^ b ^ c ^ d) >>> 0;
  const isn =
    integrityHash === undefined ? authenticator : ((authenticator & 0xffff0000) | integrityHash) >>> 0;
  return { isn, authenticator, integrityHash };
}

/** IH of draft section 3.2: the eight big-endian 16-bit words of MD5(secret || payload), XORed. */
export function integrityHash(secret: Uint8Array, payload: Uint8Array): number {
  assertSecret(secret);
  const digest = createHash('md5').update(secret).update(payload).digest();
  let hash = 0;
  for (let offset = 0; offset < digest.length; offset += 2) hash ^= digest.readUInt16BE(offset);
  return hash;
}

/**
 * What MD5 has become once the secret, which is exactly one block, is in: whoever has this computes integrity hashes,
 * and neither the secret nor an authenticator. Four little-endian words (RFC 1321 section 3.3).
 */
export function integrityMidstate(secret: Uint8Array): Uint8Array {
  assertSecret(secret);
  const midstate = Buffer.alloc(16);
  md5Round(MD5_START, secret).forEach((word, i) => {
    midstate.writeUInt32LE(word, 4 * i);
  });
  return midstate;
}

/** The 16 bytes of IV: the address, with IH at 4, TSval at 8 and the port at 12 XORed in, all big-endian. */
function initialVector({ address, port }: Destination, tsval: number, hash: number | undefined): Uint8Array {
  if (address.length !== 4 && address.length !== 16) {
    throw new RangeError(`destination address of ${address.length} bytes: 4 (IPv4) or 16 (IPv6) wanted`);
  }
  const iv = new Uint8Array(16);
  iv.set(address);
  const view = new DataView(iv.buffer);
  view.setUint16(4, view.getUint16(4) ^ unsigned('integrity hash', hash ?? 0, 16));
  view.setUint32(8, view.getUint32(8) ^ unsigned('TSval', tsval, 32));
  view.setUint16(12, view.getUint16(12) ^ unsigned('port', port, 16));
  return iv;
}

function unsigned(what: string, value: number, bits: number): number {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits) {
    throw new RangeError(`${what} ${value} is not an unsigned ${bits}-bit integer`);
  }
  return value;
}
