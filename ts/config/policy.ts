import { ConfigError, type Refuse } from './error.ts';
import {
  DEFAULT_LOG_LEVEL,
  DEFAULT_REPLAY,
  KEY_LIST,
  KEYS,
  type LogLevel,
  namesOf,
  type Replay,
} from './keys.ts';
import { padded, type SecretFile } from './secretForm.ts';
import type { Settings } from './settings.ts';
import { ALL_TARGETS, type Targets } from './targets.ts';

/** What applies to one application. */
export interface Policy {
  /** The shared secret, 64 bytes. */
  readonly secret: Uint8Array;
  /** Bytes of the first segment that the token protects, 0..1024; 0 = auth mode (draft section 3.1). */
  readonly protectedLength: number;
  /** Of a listener: what becomes of tokens that have come from another address. */
  readonly replay: Replay;
  readonly targets: Targets;
  readonly logLevel: LogLevel;
}

/** The control process's own policy, as far as it lends it to applications that bring no secret. */
export interface Loan extends Omit<Policy, 'secret'> {
  readonly secret: Uint8Array | undefined;
}

/** What applies to one listener. */
export interface ListenerPolicy extends Loan {
  /** The control process's named secrets are accepted, beside the `secret` if there is one. */
  readonly named: boolean;
}

/** Names of the environment variables that make a policy, aliases included: what the shim hands over. */
export const POLICY_KEYS: readonly string[] = KEY_LIST.flatMap(namesOf);

/**
 * The policy of one application.
 *
 * `secretFile` holds the contents of the file when `own.secret` names one; only its first 64 bytes count.
 * `loan` is of the control process. It lends its secret to an application that brings none, and
 * then also fills the protected length, the targets and the word on replays that the application leaves open. A secret of one's
 * own never goes with another's protected length: what is left open is then 0 and everything.
 *
 * Throws ConfigError when there is no secret, or the file holds none. The returned secret may be the
 * lent one: whoever wipes it wipes both.
 */
export function buildPolicy(own: Settings, secretFile: Uint8Array | undefined, loan?: Loan): Policy {
  const lender = own.secret === undefined && loan?.secret !== undefined ? loan : undefined;
  return { secret: lender?.secret ?? ownSecret(own, secretFile), ...withoutSecret(own, lender) };
}

/**
 * The same for a listener. `named` are the control process's named secrets, if it has a place for them: a listener without a
 * secret of its own accepts them all, those that are added later included. Only one that nobody could reach is refused.
 */
export function buildListenerPolicy(
  own: Settings,
  secretFile: Uint8Array | undefined,
  loan?: Loan,
  named?: { readonly size: number },
): ListenerPolicy {
  const lends = own.secret === undefined && (named?.size ?? 0) > 0;
  // What is spread comes last: behind it, another property makes V8 lay out each object anew, for 180 bytes that stay long.
  if (!lends)
    return {
      named: own.secret === undefined && named !== undefined,
      ...buildPolicy(own, secretFile, loan),
    };
  return { secret: loan?.secret, named: true, ...withoutSecret(own, loan) };
}

/** All but the secret; what is left open is the lender's. */
export function withoutSecret(own: Settings, lender?: Loan): Omit<Policy, 'secret'> {
  return {
    protectedLength: own.protectedLength ?? lender?.protectedLength ?? 0,
    replay: own.replay ?? lender?.replay ?? DEFAULT_REPLAY,
    targets: own.targets ?? lender?.targets ?? ALL_TARGETS,
    logLevel: own.logLevel ?? DEFAULT_LOG_LEVEL,
  };
}

function ownSecret({ secret }: Settings, contents: Uint8Array | undefined): Uint8Array {
  if (secret === undefined) {
    throw new ConfigError(
      "there is no secret: set KNOCK_SECRET in the environment or in ~/.knockrc, or give the control process one; 'knockify secret FILE' makes one",
    );
  }
  return secret.kind === 'bytes' ? secret.bytes : secretFromFile(secret, contents);
}

function secretFromFile(file: SecretFile, contents: Uint8Array | undefined): Uint8Array {
  const refuse: Refuse = (why) => {
    throw new ConfigError(
      `${KEYS.secret.name} (${file.origin}): the file ${file.path}: ${why}; 'knockify secret FILE' makes a good one`,
    );
  };
  if (contents === undefined) return refuse('it was not handed over: check that it exists and can be read');
  return padded(contents, refuse);
}
