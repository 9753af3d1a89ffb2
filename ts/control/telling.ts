import type { ConnectCounts, Engine, GuardedListener } from '../engine/engine.ts';
import type { Message } from '../spec/codec.ts';
import { MAX_TOLD } from '../spec/messages.ts';
import type { ErrorStatus, ListenerStatus, Status } from '../spec/status.ts';
import type { Failure, Remembering } from './log.ts';
import { describeAddress } from './sockaddr.ts';
import type { Credentials } from './surroundings.ts';

export type Told = Message<'told'>;

/** What is told of. */
export interface Subject {
  readonly engine: Engine;
  readonly log: Remembering;
  readonly version: string;
  /** The user that the control process runs as, who sees everything, as root does. */
  readonly owner: number;
  /** Name of the secret with this number; undefined for a listener's own. */
  readonly secretName: (number: number, at: number) => string | undefined;
}

/** Looking through all sockets takes the kernel a while: what was found is good for so long. Milliseconds. */
const CONNECTS_FOR = 1000;
/** For the rest of the JSON around listeners. Bytes. */
const MARGIN = 16_384;
const NO_CONNECTS: ConnectCounts = { delayed: 0, connecting: 0 };

export function isoTime(at: number): string {
  return new Date(at).toISOString();
}

export function told(content: object, next = 0): Told {
  return { kind: 'told', next, text: Buffer.from(JSON.stringify(content)) };
}

/** Tells what is guarded and what came to it; each user of their own listeners, root and the owner of all. */
export class Telling {
  readonly #subject: Subject;
  /** Milliseconds since the epoch. */
  readonly startedAt = Date.now();
  #connects: { readonly at: number; readonly counts: ReadonlyMap<number, ConnectCounts> } | undefined;
  /** Set by who knows. */
  sessions: () => number = () => 0;
  followers: () => number = () => 0;

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  /** Whether a user may know of what is another's. */
  seesAll(uid: number): boolean {
    return uid === 0 || uid === this.#subject.owner;
  }

  listeners(): GuardedListener[] {
    const all = this.#subject.engine.records?.listeners() ?? [];
    return all.sort(
      (a, b) => a.port - b.port || Buffer.compare(a.address, b.address) || Number(a.cookie - b.cookie),
    );
  }

  /** Everything, with as many listeners as there is room for in a message. */
  status({ uid }: Pick<Credentials, 'uid'>, from: number): Told {
    const all = this.seesAll(uid);
    const visible = this.listeners().filter(({ guardian }) => all || guardian.uid === uid);
    const listeners: ListenerStatus[] = [];
    let room = MAX_TOLD - MARGIN;
    for (const listener of visible.slice(from)) {
      const shown = this.#listenerStatus(listener);
      room -= JSON.stringify(shown).length;
      if (room < 0 && listeners.length > 0) break;
      listeners.push(shown);
    }
    const next = from + listeners.length;
    return told(this.#whole(all ? undefined : uid, listeners), next < visible.length ? next : 0);
  }

  /** Of one user, or of all. */
  connects(uid?: number): ConnectCounts {
    const now = Date.now();
    if (this.#connects === undefined || now - this.#connects.at > CONNECTS_FOR)
      this.#connects = { at: now, counts: this.#subject.engine.records?.connects() ?? new Map() };
    const { counts } = this.#connects;
    if (uid !== undefined) return counts.get(uid) ?? NO_CONNECTS;
    return [...counts.values()].reduce(
      (sum, { delayed, connecting }) => ({
        delayed: sum.delayed + delayed,
        connecting: sum.connecting + connecting,
      }),
      NO_CONNECTS,
    );
  }

  suppressed(): number {
    return this.#subject.engine.records?.suppressed() ?? 0;
  }

  get errorCount(): number {
    return this.#subject.log.count;
  }

  #whole(uid: number | undefined, listeners: readonly ListenerStatus[]): Status {
    const { engine, log, version } = this.#subject;
    const { delayed, connecting } = this.connects(uid);
    return {
      control: {
        pid: process.pid,
        version,
        engine: engine.name,
        since: isoTime(this.startedAt),
        uptime: Math.floor((Date.now() - this.startedAt) / 1000),
        sessions: this.sessions(),
      },
      listeners,
      connects: { armed: connecting, delayed },
      events: { followers: this.followers(), suppressed: this.suppressed() },
      errors: log.failures.filter(({ about }) => uid === undefined || about.uid === uid).map(errorStatus),
    };
  }

  #listenerStatus(listener: GuardedListener): ListenerStatus {
    const { guardian, protectedLength, last } = listener;
    return {
      address: describeAddress(listener.address),
      port: listener.port,
      interface: listener.interface || null,
      inode: listener.inode,
      program: guardian.program || null,
      pid: guardian.pid,
      uid: guardian.uid,
      user: null,
      mode: protectedLength > 0 ? 'integrity' : 'auth',
      protectedLength,
      replay: listener.allowReplay ? 'allow' : 'reject',
      since: isoTime(listener.since),
      syns: listener.syns ?? null,
      last: last
        ? { time: isoTime(last.at), secret: this.#subject.secretName(last.secret, last.at) ?? null }
        : null,
    };
  }
}

function errorStatus({ at, text, about }: Failure): ErrorStatus {
  return { time: isoTime(at), text, pid: about.pid ?? null, uid: about.uid ?? null };
}
