import { EngineError, type GuardedListener, type Records, type SynVerdict } from '../engine/engine.ts';
import type { FollowedEvent, VerdictEvent } from '../spec/status.ts';
import { describeAddress } from './sockaddr.ts';
import type { Surroundings } from './surroundings.ts';
import { isoTime, type Subject, type Telling } from './telling.ts';

/** How often it is said that somebody follows, and looked for what was suppressed. Milliseconds. */
const RENEW_EVERY = 1000;
/** The listeners are asked for again, for one that is not known, at most so often. Milliseconds. */
const REFRESH_EVERY = 200;

/** Somebody who follows. */
interface Follower {
  /** 'all', or the user whose listeners are followed. */
  readonly uid: number | 'all';
  /** Milliseconds since the epoch: what happened before is not told. */
  readonly since: number;
  /** False where there was no room for it. */
  readonly tell: (event: FollowedEvent) => boolean;
  /** How many events there was no room for. */
  lost: number;
}

/** Hands what guards say of SYNs to those who follow. While nobody does, guards say nothing. */
export class Following {
  readonly #subject: Pick<Subject, 'engine' | 'log' | 'secretName'>;
  readonly #telling: Telling;
  readonly #watch: Surroundings['watch'];
  readonly #followers = new Set<Follower>();
  #stop: (() => void) | undefined;
  #suppressed = 0;
  #listeners: { readonly at: number; readonly known: ReadonlyMap<bigint, GuardedListener> } = {
    at: 0,
    known: new Map(),
  };

  constructor(
    subject: Pick<Subject, 'engine' | 'log' | 'secretName'>,
    telling: Telling,
    watch: Surroundings['watch'],
  ) {
    this.#subject = subject;
    this.#telling = telling;
    this.#watch = watch;
    telling.followers = () => this.#followers.size;
  }

  /** Tells a user (or with 'all', who may know everything) from now on; the function returned ends that. */
  follow(uid: number | 'all', since: number, tell: Follower['tell']): () => void {
    const follower: Follower = { uid, since, tell, lost: 0 };
    this.#followers.add(follower);
    try {
      this.#begin();
    } catch (error) {
      this.#followers.delete(follower);
      throw error;
    }
    return () => {
      if (!this.#followers.delete(follower) || this.#followers.size > 0) return;
      this.close();
      this.#subject.engine.records?.unfollow();
    };
  }

  /** Guards go on for a few seconds: whoever comes next finds on record what they said. */
  close(): void {
    this.#followers.clear();
    this.#stop?.();
    this.#stop = undefined;
  }

  #begin(): void {
    const { records } = this.#subject.engine;
    if (records === undefined)
      throw new EngineError('a kernel with the Knock patch does not tell what its guards say');
    if (this.#stop !== undefined) return;
    this.#suppressed = records.suppressed();
    const unwatch = this.#watch(records.follow(), () => this.#attempt(() => this.#take(records)));
    const timer = setInterval(() => this.#attempt(() => this.#renew(records)), RENEW_EVERY);
    this.#stop = () => {
      clearInterval(timer);
      unwatch();
    };
    // What is there already makes no descriptor readable that was not watched then.
    this.#take(records);
  }

  /** Nobody waits for an answer. */
  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#subject.log.error(`following: ${error instanceof Error ? error.message : error}`);
    }
  }

  #renew(records: Records): void {
    records.follow();
    this.#take(records);
    const suppressed = records.suppressed();
    const more = suppressed - this.#suppressed;
    this.#suppressed = suppressed;
    for (const follower of [...this.#followers]) {
      const missed = more + follower.lost;
      if (missed === 0) continue;
      const told = follower.tell({ time: isoTime(Date.now()), suppressed: missed });
      follower.lost = told ? 0 : missed;
    }
  }

  #take(records: Records): void {
    for (const verdict of records.take()) {
      const listener = this.#listenerOf(verdict.cookie);
      const event = this.#eventOf(verdict, listener);
      for (const follower of [...this.#followers]) {
        if (verdict.at < follower.since) continue;
        if (follower.uid !== 'all' && follower.uid !== listener?.guardian.uid) continue;
        if (!follower.tell(event)) follower.lost++;
      }
    }
  }

  #listenerOf(cookie: bigint): GuardedListener | undefined {
    const { at, known } = this.#listeners;
    const found = known.get(cookie);
    const now = performance.now();
    if (found !== undefined || (at !== 0 && now - at < REFRESH_EVERY)) return found;
    const listeners = new Map(this.#telling.listeners().map((listener) => [listener.cookie, listener]));
    this.#listeners = { at: now, known: listeners };
    return listeners.get(cookie);
  }

  #eventOf(verdict: SynVerdict, listener: GuardedListener | undefined): VerdictEvent {
    const { at, source, destination, secret } = verdict;
    const guardian = listener?.guardian;
    return {
      time: isoTime(at),
      verdict: verdict.verdict,
      source: describeAddress(source.address),
      sourcePort: source.port,
      destination: describeAddress(destination.address),
      destinationPort: destination.port,
      program: guardian?.program || null,
      pid: guardian?.pid ?? null,
      uid: guardian?.uid ?? null,
      secret: (verdict.verdict === 'rejected' ? undefined : this.#subject.secretName(secret, at)) ?? null,
    };
  }
}

/** `authorised 192.0.2.1:40123 -> 192.0.2.2:22 sshd[812] by alice`, for people; without the time. */
export function eventText(event: FollowedEvent): string {
  if ('suppressed' in event) return `${event.suppressed} more were not reported: there were too many at once`;
  const { verdict, source, sourcePort, destination, destinationPort, program, pid, secret } = event;
  const place = (address: string, port: number) =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const whose = pid === null ? '' : ` ${program ?? 'process'}[${pid}]`;
  const by = secret === null ? '' : ` by ${secret}`;
  return `${verdict} ${place(source, sourcePort)} -> ${place(destination, destinationPort)}${whose}${by}`;
}
