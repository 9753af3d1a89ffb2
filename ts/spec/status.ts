/**
 * What the control process tells of itself, as JSON: what `knockify status --json` and `knockify events --json` print,
 * field by field. Times are ISO 8601 in UTC. Never a secret, never a token. Documented in docs/monitoring.md.
 */

export interface Status {
  readonly control: ControlStatus;
  readonly listeners: readonly ListenerStatus[];
  readonly connects: ConnectStatus;
  readonly events: EventStatus;
  /** The newest last. */
  readonly errors: readonly ErrorStatus[];
}

export interface ControlStatus {
  readonly pid: number;
  readonly version: string;
  readonly engine: 'stock' | 'knock';
  readonly since: string;
  /** Seconds. */
  readonly uptime: number;
  /** Clients that are being served now, of whatever user. */
  readonly sessions: number;
}

/** A guarded listener. */
export interface ListenerStatus {
  readonly address: string;
  readonly port: number;
  /** Index of the interface that it is bound to, or null. */
  readonly interface: number | null;
  /** Of the socket, as /proc/PID/fd names it. */
  readonly inode: number;
  /** The program that listened, or where the command finds that gone, one that has the socket; null for not known. */
  readonly program: string | null;
  /** Its process. */
  readonly pid: number;
  /** The user that it was, when it listened. */
  readonly uid: number;
  /** The name of the user, null where there is none. Only the command fills it in. */
  readonly user: string | null;
  readonly mode: 'auth' | 'integrity';
  /** Bytes that the token protects; 0 in mode auth. */
  readonly protectedLength: number;
  readonly replay: 'allow' | 'reject';
  readonly since: string;
  /** Null where they are not counted. */
  readonly syns: { readonly authorised: number; readonly rejected: number } | null;
  /** The newest SYN that was authorised; null if there was none. */
  readonly last: { readonly time: string; readonly secret: string | null } | null;
}

/** Those of now, in the network namespace. */
export interface ConnectStatus {
  /** Their SYN, with its token, is on its way. */
  readonly armed: number;
  /** Their SYN waits for the bytes that it is to protect. */
  readonly delayed: number;
}

export interface EventStatus {
  /** How many follow. */
  readonly followers: number;
  /** Verdicts that nobody was told of, because there were too many; since the maps were made. */
  readonly suppressed: number;
}

export interface ErrorStatus {
  readonly time: string;
  readonly text: string;
  /** Of the client that it is about, or null. */
  readonly pid: number | null;
  readonly uid: number | null;
}

/** What a guard said of a SYN. */
export interface VerdictEvent {
  readonly time: string;
  readonly verdict: 'authorised' | 'rejected' | 'replayed';
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** Of the listener, as in ListenerStatus; null where it is not known, or gone. */
  readonly program: string | null;
  readonly pid: number | null;
  readonly uid: number | null;
  /** Name of the secret that matched; null for the listener's own, and where none did. */
  readonly secret: string | null;
}

/** So many verdicts more that nobody is told of. */
export interface SuppressedEvent {
  readonly time: string;
  readonly suppressed: number;
}

export type FollowedEvent = VerdictEvent | SuppressedEvent;
