import { MAX_PROTECTED_LENGTH } from '../spec/messages.ts';

/** Throws RangeError unless it is a whole number of bytes that a token can protect, from `least`. */
export function checkedLength(name: string, length: number, least: number): number {
  if (Number.isInteger(length) && length >= least && length <= MAX_PROTECTED_LENGTH) return length;
  throw new RangeError(
    `${name} is ${length}; must be a whole number from ${least} to ${MAX_PROTECTED_LENGTH}`,
  );
}

/** What becomes of a SYN that was accepted from one address when it comes again from another one. */
export type Replay = 'allow' | 'reject';

/** Throws RangeError unless it is one of the two. */
export function checkedReplay(replay: Replay): Replay {
  if (replay === 'allow' || replay === 'reject') return replay;
  throw new RangeError(`replay is ${replay}; must be 'allow' or 'reject'`);
}

/** The settings part of a request: everything that counts is named, so that no rc file and no environment does. */
export function settingsOf(secret: Uint8Array, protectedLength: number, replay?: Replay) {
  const hex = Buffer.from(secret).toString('hex');
  const word = replay === undefined ? '' : `KNOCK_REPLAY=${replay}\0`;
  return {
    settings: Buffer.from(`KNOCK_SECRET=h:${hex}\0KNOCK_INTLEN=${protectedLength}\0${word}`),
    rc_path: new Uint8Array(),
    rc_error: 0,
  };
}
