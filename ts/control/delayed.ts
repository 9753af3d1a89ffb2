import { type Event, type State, transitions } from '../spec/delayedConnect.ts';

/** A stealth connect as the control process knows it; kept with the socket, as a note, while it is delayed. */
export interface StealthConnect {
  readonly state: State;
  /** `struct sockaddr` that the application connects to. */
  readonly sockaddr: Uint8Array;
  /** 64 bytes. */
  readonly secret: Uint8Array;
  /** N, bytes; 0 without integrity protection. */
  readonly protectedLength: number;
  readonly logLevel: number;
  /** The bytes that the application has written so far; once armed, exactly the N protected ones. */
  readonly bytes: Uint8Array;
  /** The program named the protected bytes before connect(): the real connect is not delayed for them. */
  readonly announced: boolean;
  /** How many of them the application was told are sent, or of announced ones, has written. The rest it will write again after EAGAIN. */
  readonly accepted: number;
}

/** The peer asks for something that the state does not allow. */
export class TransitionError extends Error {
  override readonly name = 'TransitionError';
}

export function step(state: State, event: Event): State {
  const next = transitions[state][event];
  if (next === undefined) throw new TransitionError(`'${event}' cannot happen to a connect that is ${state}`);
  return next;
}

export function moved(connect: StealthConnect, event: Event): StealthConnect {
  return { ...connect, state: step(connect.state, event) };
}

/** What a write leads to. */
export type Write =
  /** All of it was taken; more is needed. */
  | { readonly kind: 'gathered'; readonly connect: StealthConnect }
  /** The protected bytes are complete: arm the socket with `connect.bytes`. */
  | { readonly kind: 'complete'; readonly connect: StealthConnect }
  /** The real connect is under way with these very bytes. */
  | { readonly kind: 'retry'; readonly connect: StealthConnect }
  /** The application did not repeat the bytes that the token on the wire protects: the peer would reset. */
  | { readonly kind: 'mismatch'; readonly connect: StealthConnect };

function startsWith(whole: Uint8Array, start: Uint8Array): boolean {
  const common = Math.min(whole.length, start.length);
  return Buffer.compare(whole.subarray(0, common), start.subarray(0, common)) === 0;
}

/** The application writes `payload` (at least one byte; only the first MAX_PROTECTED_LENGTH bytes of it are known). */
export function write(connect: StealthConnect, payload: Uint8Array): Write {
  if (connect.state === 'armed') {
    const next = moved(connect, 'retry');
    const rest = connect.bytes.subarray(connect.accepted);
    if (!startsWith(payload, rest)) return { kind: 'mismatch', connect: moved(next, 'error') };
    if (payload.length >= rest.length) return { kind: 'retry', connect: next };
    // Fewer than the token protects must not leave alone: the first segment would be too short.
    return { kind: 'gathered', connect: { ...next, accepted: next.accepted + payload.length } };
  }
  const gathered = Buffer.concat([connect.bytes, payload]);
  if (gathered.length < connect.protectedLength) {
    const next = { ...moved(connect, 'gather'), bytes: gathered, accepted: gathered.length };
    return { kind: 'gathered', connect: next };
  }
  const bytes = Uint8Array.from(gathered.subarray(0, connect.protectedLength));
  return { kind: 'complete', connect: { ...moved(connect, 'complete'), bytes } };
}

/** The program sends after announcing the bytes: undefined when they are others, and the peer will reset. */
export function writeAnnounced(connect: StealthConnect, payload: Uint8Array): StealthConnect | undefined {
  const rest = connect.bytes.subarray(connect.accepted);
  if (!startsWith(rest, payload)) return undefined;
  return { ...connect, accepted: connect.accepted + Math.min(rest.length, payload.length) };
}

/** The bytes that have to leave in front of what the application writes now. */
export function prefix(connect: StealthConnect): Uint8Array {
  return connect.bytes.subarray(0, connect.accepted);
}
