import type { Loan } from '../config/policy.ts';
import type { Engine, Prompt } from '../engine/engine.ts';
import type { Following } from './following.ts';
import type { Log } from './log.ts';
import type { ApplicationFile, TakeFile } from './reading.ts';
import type { SecretSet } from './secretSet.ts';
import type { Telling } from './telling.ts';
import type { Verdict } from './verdict.ts';

/** What a session needs of the rest of the control process. */
export interface Surroundings {
  readonly engine: Engine;
  /** The engine's, unless every connect is to be told about. */
  readonly prompt: Prompt | undefined;
  /** The control process's own policy, lent to applications that bring no secret. */
  readonly ownPolicy: Loan | undefined;
  /** The named secrets, for listeners of applications that bring none; undefined where there is no place for any. */
  readonly secrets: SecretSet | undefined;
  /** Whether a user may use this control process at all. */
  readonly admits: (uid: number) => boolean;
  /** `struct sockaddr` of a socket's own address. */
  readonly localAddress: (fd: number) => Uint8Array;
  /** Calls back whenever the descriptor is readable, until the returned function is called. */
  readonly watch: (fd: number, readable: () => void) => () => void;
  /** As `Reading.read`. */
  readonly readFile: (file: ApplicationFile, take: TakeFile) => () => void;
  readonly log: Log;
  /** What tools are told; absent where nobody is told anything. */
  readonly telling?: { readonly status: Telling; readonly events: Following };
}

/** What the kernel says of the application's process (SO_PEERCRED). */
export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** For the log: `process 4711 of user 1000`. */
export function whoIs({ pid, uid }: Credentials): string {
  return `process ${pid} of user ${uid}`;
}

/**
 * The half of a session that deals with one real call: what it leads to, and what its report means.
 */
export interface Dealings {
  /** The application's real call has ended with this errno, or 0. */
  report(error: number): Verdict;
  end(): void;
}
