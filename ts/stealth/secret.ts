import { createHash } from 'node:crypto';
import { BLOCK_BYTES } from './md5.ts';

/** Bytes of a shared secret on its way into the token. */
export const SECRET_BYTES = BLOCK_BYTES;

/**
 * The 64 bytes that the token is computed with: zero-padded or cut, always a copy. Throws RangeError on an
 * empty secret and on one whose 64 bytes are all zero (draft section 11: never an empty or default value).
 */
export function padSecret(bytes: Uint8Array): Uint8Array {
  // With a buffer of its own: V8 keeps arrays as small as this one among its objects, and leaves copies when it moves those.
  const secret = new Uint8Array(new ArrayBuffer(SECRET_BYTES));
  secret.set(bytes.subarray(0, SECRET_BYTES));
  if (bytes.length === 0) throw new RangeError('the secret is empty');
  if (secret.every((byte) => byte === 0)) throw new RangeError('the secret consists of zero bytes only');
  return secret;
}

/**
 * Short one-way name of a 64-byte secret, for people to compare: 48 bits of SHA-256 in hex. It tells a
 * guesser no more than a captured SYN does, so it is safe to show to whoever sees the traffic, and no further.
 */
export function fingerprint(secret: Uint8Array): string {
  assertSecret(secret);
  const digest = createHash('sha256').update('knockify secret fingerprint\n').update(secret).digest('hex');
  return `${digest.slice(0, 4)}-${digest.slice(4, 8)}-${digest.slice(8, 12)}`;
}

/** Throws RangeError unless the secret has its 64 bytes. The message tells the length only. */
export function assertSecret(secret: Uint8Array): void {
  if (secret.length !== SECRET_BYTES) {
    throw new RangeError(`the secret has ${secret.length} bytes instead of ${SECRET_BYTES}: use padSecret`);
  }
}
