import type { Message } from '../spec/codec.ts';
import { type ActionName, actions, MIDSTATE_SIZE, SOCKADDR_SIZE } from '../spec/messages.ts';

export type Verdict = Message<'verdict'>;

/** EPROTONOSUPPORT, what a call fails with where stealth can't be applied. */
export const STEALTH_UNAVAILABLE = 93;

const MAX_TEXT = 2048;
/** The library goes by KNOCK_LOGLVL in its environment, or by what it was told before. */
export const UNKNOWN_LOG_LEVEL = 255;

interface Details {
  readonly logLevel?: number;
  readonly follow?: boolean;
  /** What the library needs to inspect first segments itself. */
  readonly inspects?: { readonly protectedLength: number; readonly midstate: Uint8Array } | undefined;
  readonly error?: number;
  readonly sockaddr?: Uint8Array;
  readonly text?: string;
  readonly prefix?: Uint8Array;
  readonly path?: Uint8Array;
}

const ids = new Map<ActionName, number>(actions.map(({ name, id }) => [name, id]));

export function verdict(action: ActionName, details: Details = {}): Verdict {
  const peer = new Uint8Array(SOCKADDR_SIZE);
  peer.set(details.sockaddr ?? []);
  return {
    kind: 'verdict',
    action: ids.get(action) ?? 0,
    log_level: details.logLevel ?? UNKNOWN_LOG_LEVEL,
    follow: details.follow ? 1 : 0,
    error: details.error ?? 0,
    protected_length: details.inspects?.protectedLength ?? 0,
    midstate: details.inspects?.midstate ?? new Uint8Array(MIDSTATE_SIZE),
    peer,
    peer_size: details.sockaddr?.length ?? 0,
    text: Buffer.from(details.text ?? '').subarray(0, MAX_TEXT),
    prefix: details.prefix ?? new Uint8Array(),
    path: details.path ?? new Uint8Array(),
  };
}

/** Stealth can't be applied, for the reason in `text`. */
export function refuse(text: string, logLevel?: number): Verdict {
  const details = { text, error: STEALTH_UNAVAILABLE };
  return verdict('refuse', logLevel === undefined ? details : { ...details, logLevel });
}

/** For a user who may not use the control process. */
export function notAdmitted(uid: number): Verdict {
  return refuse(
    `user ${uid} may not use this control process: its administrator names users by --allow-user`,
  );
}
