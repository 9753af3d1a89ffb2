import type { Policy } from '../config/policy.ts';
import { matchesListener } from '../config/targets.ts';
import type { Inspection, Protection } from '../engine/engine.ts';
import { decodeListener, encodeListener } from './note.ts';
import { describePeer, parseSockaddr } from './sockaddr.ts';
import type { Credentials, Dealings, Surroundings } from './surroundings.ts';
import { refuse, type Verdict, verdict } from './verdict.ts';

/**
 * How long an accepted connection may take for its first segment. Only with SYN cookies is a connection accepted
 * before that has arrived, and then it is on its way. The library waits no longer than 5 seconds. Milliseconds.
 */
const FIRST_SEGMENT_WITHIN = 2000;

/** The server side of a session: listen(), and the inspection of accepted connections. */
export class Listening implements Dealings {
  readonly #around: Surroundings;
  readonly #client: Credentials;
  readonly #answer: (verdict: Verdict) => void;
  #guarded: { readonly fd: number; readonly protection: Protection; readonly logLevel: number } | undefined;
  #stopWaiting: (() => void) | undefined;

  constructor(around: Surroundings, client: Credentials, answer: (verdict: Verdict) => void) {
    this.#around = around;
    this.#client = client;
    this.#answer = answer;
  }

  listen(socket: number, policy: Policy): Verdict {
    const { engine, log } = this.#around;
    const { logLevel, secret, protectedLength } = policy;
    const local = parseSockaddr(this.#around.localAddress(socket));
    const phase = engine.phase(socket);
    if (!matchesListener(policy.targets, local) || phase === 'guarded') return verdict('pass', { logLevel });
    if (phase === 'deferred' || phase === 'armed') engine.release(socket);
    const protection = { secret, protectedLength };
    engine.guard(socket, protection);
    engine.writeNote(socket, encodeListener(protection));
    this.#guarded = { fd: socket, protection, logLevel };
    log.debug(`guarded ${describePeer(local)} for process ${this.#client.pid}`);
    return verdict('proceed', { logLevel, inspect: protectedLength > 0 && !engine.inspectsFirstSegment });
  }

  /** Undefined when the verdict follows later. */
  accepted(socket: number, listener: number): Verdict | undefined {
    const { engine } = this.#around;
    const note = engine.readNote(listener);
    const protection = note === undefined ? undefined : decodeListener(note);
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
  }

  #judge(inspection: Inspection): Verdict {
    if (inspection.pass) return verdict('pass');
    this.#around.log.info(`reset a connection to process ${this.#client.pid}: ${inspection.reason}`);
    return verdict('reset');
  }

  #waitFor(socket: number, protection: Protection): void {
    const { engine, watch } = this.#around;
    const look = (last: boolean) => {
      const inspection = engine.inspectAccepted(socket, protection);
      if (!inspection.pass && inspection.pending && !last) return;
      this.end();
      this.#answer(this.#judge(inspection));
    };
    const timer = setTimeout(() => look(true), FIRST_SEGMENT_WITHIN);
    const unwatch = watch(socket, () => look(false));
    this.#stopWaiting = () => {
      clearTimeout(timer);
      unwatch();
    };
  }
}
