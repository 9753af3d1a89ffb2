import { MAX_PROTECTED_LENGTH } from '../spec/messages.ts';

/** Throws RangeError unless it is a whole number of bytes that a token can protect, from `least`. */
export function checkedLength(name: string, length: number, least: number): number {
  if (Number.isInteger(length) && length >= least && length <= MAX_PROTECTED_LENGTH) return length;
  throw new RangeError(
    `${name} is ${length}; must be a whole number from ${least} to ${MAX_PROTECTED_LENGTH}`,
  );
}

/** The settings part of a request: everything that counts is named, so that no rc file and no environment does. */
export function settingsOf(secret: Uint8Array, protectedLength: number) {
  const hex = Buffer.from(secret).toString('hex');
  return {
    settings: Buffer.from(`KNOCK_SECRET=h:${hex}\0KNOCK_INTLEN=${protectedLength}\0`),
    rc_path: new Uint8Array(),
    rc_error: 0,
  };
}
