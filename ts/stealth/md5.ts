/** Bytes of the block that one round takes, and so of the shared secret. */
export const BLOCK_BYTES = 64;

/** RFC 1321 section 3.4, table T: the integer part of 2^32 * |sin i|, i in radians. */
const SINES = Int32Array.from({ length: 64 }, (_, i) => Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32));

/** Left rotations of RFC 1321 section 3.4, four for each of the four groups of sixteen steps. */
const ROTATIONS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];

/**
 * One round of MD5 (RFC 1321 section 3.4, "MD5Transform") with a chosen initialisation vector: no padding, no
 * length block. `iv` and `block` are bytes; both are read as little-endian words, as RFC 1321 section 2 wants
 * it. Returns the state words a, b, c, d as integers, which is what the token is made of.
 */
export function md5Round(iv: Uint8Array, block: Uint8Array): Uint32Array {
  const state = littleEndianWords(iv, 4);
  const words = littleEndianWords(block, BLOCK_BYTES / 4);
  let [a = 0, b = 0, c = 0, d = 0] = state;
  for (let step = 0; step < 64; step++) {
    const group = step >> 4;
    const word = words[wordOf(group, step)] ?? 0;
    const sum = (a + mix(group, b, c, d) + word + (SINES[step] ?? 0)) | 0;
    const turn = ROTATIONS[group * 4 + (step & 3)] ?? 0;
    a = d;
    d = c;
    c = b;
    b = (b + ((sum << turn) | (sum >>> (32 - turn)))) | 0;
  }
  words.fill(0); // a copy of the secret
  const [a0 = 0, b0 = 0, c0 = 0, d0 = 0] = state;
  return Uint32Array.of(a0 + a, b0 + b, c0 + c, d0 + d);
}

/** The auxiliary function F, G, H or I. */
function mix(group: number, b: number, c: number, d: number): number {
  switch (group) {
    case 0:
      return (b & c) | (~b & d);
    case 1:
      return (b & d) | (c & ~d);
    case 2:
      return b ^ c ^ d;
    default:
      return c ^ (b | ~d);
  }
}

/** Which word of the block a step takes. */
function wordOf(group: number, step: number): number {
  switch (group) {
    case 0:
      return step;
    case 1:
      return (5 * step + 1) & 15;
    case 2:
      return (3 * step + 5) & 15;
    default:
      return (7 * step) & 15;
  }
}

/** Signed, because JavaScript's own 32-bit integers are: unsigned ones would be computed in floating point. */
function littleEndianWords(bytes: Uint8Array, count: number): Int32Array {
  if (bytes.length !== count * 4)
    throw new RangeError(`MD5 round: ${bytes.length} bytes instead of ${count * 4}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = new Int32Array(count);
  for (let i = 0; i < count; i++) words[i] = view.getInt32(i * 4, true);
  return words;
}
