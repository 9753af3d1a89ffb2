import { padSecret, SECRET_BYTES } from '../stealth/secret.ts';
import type { Refuse } from './error.ts';

/** Where the secret is: here, or in a file that whoever has the right to read it must read. */
export type SecretSource =
  /** The 64 bytes, a copy of their own. */
  { readonly kind: 'bytes'; readonly bytes: Uint8Array } | SecretFile;

export interface SecretFile {
  readonly kind: 'file';
  /** The file's name for messages: UTF-8, what is not valid replaced. */
  readonly path: string;
  /** The file's name as the kernel takes it, without the final NUL. Relative to the application's directory. */
  readonly pathBytes: Uint8Array;
  /** Where the setting came from: `environment` or `path:line`. */
  readonly origin: string;
}

const COLON = 0x3a;

/** Parses the three forms of KNOCK_SECRET. What it gives to `refuse` holds no part of the secret. */
export function parseSecret(value: Uint8Array, refuse: Refuse, origin: string): SecretSource {
  const rest = value.subarray(2);
  switch (value[1] === COLON ? value[0] : undefined) {
    case 0x68: // h:
      return { kind: 'bytes', bytes: parseHex(rest, refuse) };
    case 0x66: // f:
      return parseFile(rest, refuse, origin);
    default:
      return { kind: 'bytes', bytes: padded(value, refuse) };
  }
}

/** `padSecret`, with the reason in a setting's own words. */
export function padded(bytes: Uint8Array, refuse: Refuse): Uint8Array {
  try {
    return padSecret(bytes);
  } catch (error) {
    if (error instanceof RangeError) refuse(error.message);
    throw error;
  }
}

function parseHex(digits: Uint8Array, refuse: Refuse): Uint8Array {
  if (digits.length === 0) refuse('no hex digits follow h:');
  if (digits.length % 2 !== 0) refuse('the number of hex digits is odd');
  const bytes = new Uint8Array(digits.length / 2);
  for (const [i, char] of digits.entries()) {
    const digit = hexDigit(char);
    if (digit === undefined) {
      bytes.fill(0);
      return refuse('something other than hex digits follows h:');
    }
    bytes[i >> 1] = ((bytes[i >> 1] ?? 0) << 4) | digit;
  }
  const secret = padded(bytes.subarray(0, SECRET_BYTES), refuse);
  bytes.fill(0);
  return secret;
}

/** Value of one ASCII hex digit. Bytes, not strings: strings can't be wiped. */
function hexDigit(char: number): number | undefined {
  if (char >= 0x30 && char <= 0x39) return char - 0x30;
  const lower = char | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : undefined;
}

function parseFile(name: Uint8Array, refuse: Refuse, origin: string): SecretFile {
  if (name.length === 0) refuse('no file name follows f:');
  if (name.includes(0)) refuse('the file name after f: has a zero byte in it');
  const pathBytes = Uint8Array.from(name); // slice() of a Buffer would share its memory
  return { kind: 'file', path: Buffer.from(pathBytes).toString('utf8'), pathBytes, origin };
}
