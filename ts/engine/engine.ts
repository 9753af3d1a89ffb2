import type { Destination } from '../stealth/destination.ts';
import type { Prompt } from '../sys/prompt.ts';

export type { Answered, Left, Prompt } from '../sys/prompt.ts';

/** A destination together with the `struct sockaddr` bytes that the application passed, for the real connect. */
export interface Peer extends Destination {
  /** `struct sockaddr_in` or `sockaddr_in6` as the kernel takes it. */
  readonly sockaddr: Uint8Array;
}

/** What a guard or an armed socket enforces. */
export interface Protection {
  /** The shared secret, 64 bytes. A guard may do without, where it accepts the named ones. */
  readonly secret: Uint8Array | undefined;
  /** Whether the named secrets are accepted as well. Of a guard only. */
  readonly named?: boolean | undefined;
  /** Bytes of the first segment that the token protects; 0 is authentication only (draft section 3.1). */
  readonly protectedLength: number;
  /**
   * Whether a token that came from one address may come again from another. Otherwise, where it has a T, whoever is not
   * the first to bring it meets a closed port. Of a guard only.
   */
  readonly allowReplay?: boolean | undefined;
}

/** The token that the next SYN of an armed socket carries. */
export interface ArmedToken {
  readonly isn: number;
  /** TSval of that SYN and of its retransmissions; 0 without the timestamp option. */
  readonly tsval: number;
}

/** What an accepted connection turned out to be. `reason` is for the log; the application never sees it. */
export type Inspection = {
  /** The slot of the named secret that the SYN was made from; undefined for the listener's own, or where it is not known. */
  readonly slot?: number | undefined;
} & (
  | { readonly pass: true }
  /** `pending`: the first segment has not arrived yet; a later look may find another result. */
  | { readonly pass: false; readonly reason: string; readonly pending?: true }
);

/**
 * Where the named secrets are that guards accept: slots 1 to 64, which live in the kernel as long as a guard does, whoever
 * fills them. What is changed counts for every SYN from then on. Every method throws `SysError` on failure.
 */
export interface SecretSlots {
  /**
   * Says whether this process fills them from a folder; where that has nothing, it does not. False as long as another that
   * runs does so from another one, and has said so in the last two minutes: then nothing is to be changed.
   */
  claim(folder: string, hasSecrets: boolean): boolean;
  /** Takes that back. */
  resign(): void;
  /** A copy, the caller's to wipe; undefined for an empty slot. */
  read(slot: number): Uint8Array | undefined;
  /** Fills an empty slot; `until` (in ms since the epoch) is when it stops to count, whether or not anybody is there to empty it. */
  write(slot: number, secret: Uint8Array, until?: number): void;
  /** Says anew until when a slot counts. */
  limit(slot: number, until?: number): void;
  clear(slot: number): void;
}

/** What the kernel says about a socket, before anything is done to it. */
export type SocketPhase =
  /** Neither connected nor listening: may be deferred, armed or guarded. */
  | 'fresh'
  /** A faked connect: connect() has said yes, no SYN was sent. */
  | 'deferred'
  /** The next connect() carries the token. Once its SYN has left, the socket is foreign, or fresh if that failed. */
  | 'armed'
  /** A listener with a guard. */
  | 'guarded'
  /** A listener without a guard. */
  | 'listening'
  /** Connecting, connected or closing without us. */
  | 'foreign';

/** What is to be known of a socket before anything is decided. */
export interface Sight {
  readonly phase: SocketPhase;
  /** It is, or was once, deferred or armed: `release` has something to take back. */
  readonly marked: boolean;
  /** `readNote` would find something. */
  readonly noted: boolean;
}

/** Who had a listener guarded. */
export interface Guardian {
  readonly pid: number;
  readonly uid: number;
  /** Its name, up to 15 bytes; empty where that is not known. */
  readonly program: string;
}

/** A guarded socket that listens, and what came to it. */
export interface GuardedListener {
  /** SO_COOKIE: no other socket has it as long as the kernel runs. */
  readonly cookie: bigint;
  /** As bound, 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
  /** Index of the interface that it is bound to; 0 for none. */
  readonly interface: number;
  /** As /proc/PID/fd names the socket. */
  readonly inode: number;
  readonly guardian: Guardian;
  readonly protectedLength: number;
  readonly allowReplay: boolean;
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** Undefined where they are not counted. Those to a SO_REUSEPORT group may be with any of its sockets. */
  readonly syns: { readonly authorised: number; readonly rejected: number } | undefined;
  /** The newest that was authorised, in milliseconds since the epoch, and the number of the secret that it was made with. */
  readonly last: { readonly at: number; readonly secret: number } | undefined;
}

/** What a guard said of a SYN. */
export interface SynVerdict {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** The listener's. */
  readonly cookie: bigint;
  readonly source: Destination;
  readonly destination: Destination;
  readonly verdict: 'authorised' | 'rejected' | 'replayed';
  /** Number of the secret that matched; 0 for the listener's own, and where none did. */
  readonly secret: number;
}

/** Of one user: connects whose SYN waits for the protected bytes, and those whose SYN with its token is on its way. */
export interface ConnectCounts {
  readonly delayed: number;
  readonly connecting: number;
}

/** What guards and filters have done. All of it throws `SysError` (or `EngineError`) where the kernel doesn't tell. */
export interface Records {
  /** A guarded socket is about to listen. Counts that there are of it go on. */
  enter(fd: number, guardian: Guardian, protection: Protection): void;
  /** It is guarded otherwise now. Without effect on one that was never entered. */
  change(fd: number, protection: Protection): void;
  listeners(): GuardedListener[];
  /** By user. */
  connects(): Map<number, ConnectCounts>;
  /**
   * Has verdicts recorded, for the next five seconds: to be called again and again. The descriptor is readable when
   * there are some, and stays the same until `unfollow`.
   */
  follow(): number;
  unfollow(): void;
  /** The verdicts recorded since the last time, oldest first. */
  take(): SynVerdict[];
  /** How many verdicts were not recorded though somebody followed, because there were too many; ever. */
  suppressed(): number;
}

/**
 * How a token reaches the wire. Every descriptor is one that somebody else owns: no call may block on it,
 * change its O_NONBLOCK flag or close it. Every method throws `SysError` (or `EngineError`) on failure and
 * leaves the socket unable to send a SYN without a token.
 */
export interface Engine {
  readonly name: 'stock' | 'knock';
  /** True where the kernel checks the first segment itself, so that accepted sockets need no inspection. */
  readonly inspectsFirstSegment: boolean;
  /** A descriptor that becomes readable when `follow` has something to do; undefined where there is never anything. */
  readonly changes: number | undefined;
  /** Answers connects that are like earlier ones, where that can be done without asking anybody. */
  readonly prompt: Prompt | undefined;
  /** Undefined where the kernel checks each listener's own secret, and no other. */
  readonly secrets: SecretSlots | undefined;
  /** Undefined where the kernel tells nothing. */
  readonly records: Records | undefined;
  /** Catches up with interfaces that came, changed or went; with `all`, also where nothing told so. */
  follow(all?: boolean): void;
  /**
   * Throws EngineError when the descriptor is not a TCP socket of this network namespace. All other methods but
   * `guard` and `inspectAccepted` rely on that having been asked.
   */
  look(fd: number): Sight;
  /** What `look` says of the phase. */
  phase(fd: number): SocketPhase;
  /** Fakes a connect: connect() has said yes, the kernel has chosen route, source address and port, nothing is sent. */
  defer(fd: number, peer: Peer): void;
  /**
   * Makes the next connect() to `peer` carry the token. Takes a fresh or a deferred socket.
   * `payload` holds exactly the protected bytes in integrity mode, and is absent in auth mode.
   */
  arm(fd: number, peer: Peer, secret: Uint8Array, payload?: Uint8Array): ArmedToken;
  /**
   * To be called once the application's real connect() has returned: takes back what arming changed beyond the
   * token (the pinned port). Returns why the SYN was held back, or undefined when it left as it should. With the
   * token's `isn`, does nothing where the socket was armed anew since.
   */
  settle(fd: number, isn?: number): string | undefined;
  /**
   * Takes a deferred or armed socket back to fresh: no port, no token, no repair mode. Resets a connection whose SYN
   * left without its token.
   */
  release(fd: number): void;
  /**
   * Guards a bound (or unbound) socket that does not listen yet, or a guarded one (and its group) anew; `previous`
   * says how that was guarded so far, if otherwise. A listener without a guard stops listening for it: who got into its
   * queue unchecked is reset, and it keeps its port until listen(2) is called again.
   */
  guard(fd: number, protection: Protection, previous?: Protection): void;
  /** Checks an accepted socket's first segment against its SYN (draft section 3.2). Never blocks, consumes nothing. */
  inspectAccepted(fd: number, protection: Protection): Inspection;
  /** Opaque bytes that live as long as the socket does, whoever holds it. At most `NOTE_BYTES`. The caller's to wipe. */
  readNote(fd: number): Uint8Array | undefined;
  writeNote(fd: number, note: Uint8Array): void;
  dropNote(fd: number): void;
  /**
   * Frees what only this process needs. What keeps marked sockets from sending plain SYNs stays in the kernel for the
   * next engine, unless `purge` says that there are no such sockets any more.
   */
  close(options?: { readonly purge?: boolean }): void;
}

/** Keeps descriptors from one engine to the next where the kernel would not hand them out again, by name. */
export interface Memory {
  /** What predecessors left, for the engine to use or close. */
  readonly kept: readonly { readonly fd: number; readonly name: string }[];
  keep(name: string, descriptors: readonly number[]): void;
  /** Drops what was kept under the name. */
  forget(name: string): void;
}

/** Room for twice the longest protected length, two secrets, a sockaddr_in6 and bookkeeping. */
export const NOTE_BYTES = 2400;

/** Stealth can't be applied. The message says what is missing and how to get it. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
}
