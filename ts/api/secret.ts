import { padSecret } from '../stealth/secret.ts';

/**
 * The secret that both ends share: bytes (a file's, for instance), a text (its UTF-8 bytes) or hexadecimal digits.
 * Zero-padded or cut to 64 bytes, as with KNOCK_SECRET.
 */
export type Secret = Uint8Array | string | { readonly hex: string };

/** The 64 bytes. Throws RangeError; its message holds no part of the secret. */
export function secretBytes(secret: Secret): Uint8Array {
  if (typeof secret === 'string') return padSecret(Buffer.from(literal(secret)));
  if (secret instanceof Uint8Array) return padSecret(secret);
  if (!/^([0-9a-f]{2})+$/i.test(secret.hex))
    throw new RangeError('secret.hex must be an even number of hexadecimal digits');
  return padSecret(Buffer.from(secret.hex, 'hex'));
}

/** KNOCK_SECRET gives these beginnings a meaning. Taken literally, the two ends would differ and nobody would see why. */
function literal(text: string): string {
  if (text.startsWith('h:'))
    throw new RangeError(
      'the secret begins with h: as in KNOCK_SECRET; give { hex } with the digits instead',
    );
  if (text.startsWith('f:'))
    throw new RangeError('the secret begins with f: as in KNOCK_SECRET; give the bytes of the file instead');
  return text;
}
