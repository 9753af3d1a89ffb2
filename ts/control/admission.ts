/** How much of the control process one user, or one client, can hold. */
export interface Limits {
  /** Clients of one user at a time; as many more wait for their turn, and others are turned away. */
  readonly perUser: number;
  /** How long a client may take for its next message. Milliseconds. */
  readonly silence: number;
  /** The same while it makes a real call, which may be a connect that nobody answers. Milliseconds. */
  readonly call: number;
}

/** Nobody waits longer for an answer than KNOCK_TIMEOUT can be, and a connect's SYNs end after some two minutes. */
export const LIMITS: Limits = { perUser: 500, silence: 60_000, call: 600_000 };

/** Whose turn it is: a user who opens sessions without end keeps nobody else from theirs. */
export class Admission<T> {
  readonly #perUser: number;
  readonly #inside = new Map<number, number>();
  readonly #waiting = new Map<number, T[]>();

  constructor(perUser: number) {
    this.#perUser = perUser;
  }

  /** `client` is what `leave` gives back when a client that waits is admitted. */
  ask(uid: number, client: () => T): 'admitted' | 'waits' | 'turned away' {
    const inside = this.#inside.get(uid) ?? 0;
    if (inside < this.#perUser) {
      this.#inside.set(uid, inside + 1);
      return 'admitted';
    }
    const waiting = this.#waiting.get(uid) ?? [];
    if (waiting.length >= this.#perUser) return 'turned away';
    this.#waiting.set(uid, [...waiting, client()]);
    return 'waits';
  }

  /** One of the user's clients is gone; returns the next, which is admitted in its place. */
  leave(uid: number): T | undefined {
    const [next, ...others] = this.#waiting.get(uid) ?? [];
    if (others.length > 0) this.#waiting.set(uid, others);
    else this.#waiting.delete(uid);
    if (next !== undefined) return next;
    const inside = (this.#inside.get(uid) ?? 1) - 1;
    if (inside > 0) this.#inside.set(uid, inside);
    else this.#inside.delete(uid);
    return undefined;
  }

  /** Forgets those who wait, and returns them. */
  clear(): T[] {
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    return all;
  }
}
