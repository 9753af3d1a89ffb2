import type { ListenerPolicy } from '../config/policy.ts';
import { matchesListener } from '../config/targets.ts';
import type { Engine, Inspection, Protection } from '../engine/engine.ts';
import { integrityMidstate } from '../stealth/token.ts';
import { programOf } from '../sys/process.ts';
import { type ProgramStealth, readNote, secretsOf, updateNote } from './note.ts';
import { describePeer, parseSockaddr } from './sockaddr.ts';
import { type Credentials, type Dealings, type Surroundings, whoIs } from './surroundings.ts';
import { refuse, UNKNOWN_LOG_LEVEL, type Verdict, verdict } from './verdict.ts';

/**
 * How long an accepted connection may take for its first segment. Only with SYN cookies is a connection accepted
 * before that has arrived, and then it is on its way. The library waits no longer than KNOCK_TIMEOUT. Milliseconds.
 */
const FIRST_SEGMENT_WITHIN = 2000;
/**
 * Until it is looked at for the second time, though something has arrived; each time later twice that. Where the first look does
 * not tell, most often somebody does what he can for it. Milliseconds.
 */
const LOOK_AGAIN_AFTER = 1;

/**
 * What the library is told of a listener's connections: whether it has to have them inspected, and what it needs to let
 * most of them pass without a question. From the midstate nobody computes an authenticator, nor the secret.
 */
export function inspecting(engine: Engine, { secret, named = false, protectedLength }: Protection) {
  if (protectedLength === 0 || engine.inspectsFirstSegment) return { follow: false };
  // Only the guard's records tell which of several secrets a connection's SYN was made from.
  if (named || secret === undefined) return { follow: true };
  return { follow: true, inspects: { protectedLength, midstate: integrityMidstate(secret) } };
}

/** The server side of a session: listen(), and the inspection of accepted connections. */
export class Listening implements Dealings {
  readonly #around: Surroundings;
  readonly #client: Credentials;
  readonly #answer: (verdict: Verdict) => void;
  #guarded: { readonly fd: number; readonly protection: Protection; readonly logLevel: number } | undefined;
  readonly #secrets: Uint8Array[] = [];
  #stopWaiting: (() => void) | undefined;

  constructor(around: Surroundings, client: Credentials, answer: (verdict: Verdict) => void) {
    this.#around = around;
    this.#client = client;
    this.#answer = answer;
  }

  listen(socket: number, policy: ListenerPolicy): Verdict {
    const { logLevel, secret, named, protectedLength, replay, targets } = policy;
    const local = parseSockaddr(this.#around.localAddress(socket));
    if (!matchesListener(targets, local)) return verdict('pass', { logLevel });
    const allowReplay = replay === 'allow';
    return this.#guard(socket, { secret, named, protectedLength, allowReplay }, logLevel);
  }

  /** The program chose secret and protected length itself: no setting and no target counts. */
  listenAsTold(socket: number, { secret, protectedLength }: ProgramStealth): Verdict {
    return this.#guard(socket, { secret, protectedLength }, UNKNOWN_LOG_LEVEL);
  }

  /** Undefined when the verdict follows later. */
  accepted(socket: number, listener: number): Verdict | undefined {
    const { engine } = this.#around;
    const note = readNote(engine, listener);
    const protection = note.listener;
    this.#secrets.push(...secretsOf(note));
    // It keeps its SYNs for purposes of its own.
    if (protection === undefined && engine.phase(listener) !== 'guarded') return verdict('pass');
    if (protection === undefined)
      return verdict('reset', {
        text: 'nothing is known of this listener (was the control process replaced?)',
      });
    const inspection = engine.inspectAccepted(socket, protection);
    if (inspection.pass || !inspection.pending) return this.#judge(inspection);
    this.#waitFor(socket, protection);
    return undefined;
  }

  /**
   * A socket that joined a SO_REUSEPORT group which listens already took over the group's program, or none: now that
   * it listens, the guard is put in place once more, for the whole group.
   */
  report(error: number): Verdict {
    const guarded = this.#guarded;
    this.#guarded = undefined;
    if (guarded === undefined || error !== 0) return verdict('pass');
    try {
      this.#around.engine.guard(guarded.fd, guarded.protection);
      return verdict('pass', { logLevel: guarded.logLevel });
    } catch (problem) {
      return refuse(problem instanceof Error ? problem.message : String(problem), guarded.logLevel);
    }
  }

  end(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
    for (const secret of this.#secrets) secret.fill(0);
  }

  #guard(socket: number, protection: Protection, logLevel: number): Verdict {
    const { engine } = this.#around;
    const phase = engine.phase(socket);
    // Another process has it already, or a program before this one: what it was guarded with stays.
    const note = phase === 'guarded' ? readNote(engine, socket) : {};
    this.#secrets.push(...secretsOf(note));
    const known = note.listener;
    if (known !== undefined) return this.#proceed(socket, known, logLevel);
    if (phase === 'deferred' || phase === 'armed') engine.release(socket);
    engine.guard(socket, protection);
    updateNote(engine, socket, { listener: protection });
    this.#enter(socket, protection);
    return this.#proceed(socket, protection, logLevel);
  }

  /** A listener that is guarded, and not on record, is guarded all the same. */
  #enter(socket: number, protection: Protection): void {
    const { pid, uid } = this.#client;
    try {
      this.#around.engine.records?.enter(socket, { pid, uid, program: programOf(pid) }, protection);
    } catch (error) {
      const text = error instanceof Error ? error.message : error;
      this.#around.log.error(`recording a listener of ${whoIs(this.#client)}: ${text}`, this.#client);
    }
  }

  #proceed(socket: number, protection: Protection, logLevel: number): Verdict {
    const { engine, log } = this.#around;
    this.#guarded = { fd: socket, protection, logLevel };
    const local = parseSockaddr(this.#around.localAddress(socket));
    log.debug(`guarded ${describePeer(local)} for ${whoIs(this.#client)}`, this.#client);
    return verdict('proceed', {
      logLevel,
      ...inspecting(engine, protection),
    });
  }

  #judge(inspection: Inspection): Verdict {
    const { log, secrets } = this.#around;
    const name = inspection.slot === undefined ? undefined : secrets?.nameOf(inspection.slot);
    const by = name === undefined ? '' : ` by secret ${name}`;
    if (inspection.pass) {
      if (name !== undefined) log.info(`let a connection in to ${whoIs(this.#client)}${by}`, this.#client);
      return verdict('pass');
    }
    log.info(`reset a connection to ${whoIs(this.#client)}${by}: ${inspection.reason}`, this.#client);
    return verdict('reset');
  }

  /** The peer may have reset the connection meanwhile. */
  #inspect(socket: number, protection: Protection): Inspection {
    try {
      return this.#around.engine.inspectAccepted(socket, protection);
    } catch (error) {
      return { pass: false, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  #waitFor(socket: number, protection: Protection): void {
    const { watch } = this.#around;
    const look = (last: boolean) => {
      const inspection = this.#inspect(socket, protection);
      if (!inspection.pass && inspection.pending && !last) {
        unwatch();
        again = setTimeout(attend, pause);
        pause *= 2;
        return;
      }
      this.end();
      this.#answer(this.#judge(inspection));
    };
    const attend = () => {
      unwatch = watch(socket, () => look(false));
    };
    let pause = LOOK_AGAIN_AFTER;
    let again: NodeJS.Timeout | undefined;
    let unwatch = () => {};
    attend();
    const timer = setTimeout(() => look(true), FIRST_SEGMENT_WITHIN);
    this.#stopWaiting = () => {
      clearTimeout(timer);
      clearTimeout(again);
      unwatch();
    };
  }
}
