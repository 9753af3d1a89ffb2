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

/** Who keeps clients of the same users, or knows of them, and counts ours in. */
export interface Elsewhere {
  clients(uid: number): number;
  /** So many of a user's clients are not there but here. */
  elsewhere(uid: number, clients: number): void;
}

/** Whose turn it is: a user who opens sessions without end keeps nobody else from theirs. */
export class Admission<T> {
  readonly #perUser: number;
  readonly #others: Elsewhere | undefined;
  /** Kept at 0 until `tidy`: most users come again at once. */
  readonly #inside = new Map<number, number>();
  readonly #waiting = new Map<number, T[]>();

  constructor(perUser: number, others?: Elsewhere) {
    this.#perUser = perUser;
    this.#others = others;
  }

  /** `client` is what `leave` gives back when a client that waits is admitted. */
  ask(uid: number, client: () => T): 'admitted' | 'waits' | 'turned away' {
    const waiting = this.#waiting.get(uid) ?? [];
    if (this.#hasRoom(uid)) {
      this.#inside.set(uid, this.#insideOf(uid) + 1);
      this.#tell(uid);
      return 'admitted';
    }
    if (waiting.length >= this.#perUser) return 'turned away';
    this.#waiting.set(uid, [...waiting, client()]);
    this.#tell(uid);
    return 'waits';
  }

  /** One of the user's clients is gone; returns the next, which is admitted in its place. */
  leave(uid: number): T | undefined {
    this.#inside.set(uid, Math.max(0, this.#insideOf(uid) - 1));
    const next = this.#next(uid);
    this.#tell(uid);
    return next;
  }

  /** Those who wait though there is room, since clients elsewhere are gone: now they are admitted. */
  admit(): T[] {
    const admitted: T[] = [];
    for (const uid of [...this.#waiting.keys()]) {
      for (let next = this.#next(uid); next !== undefined; next = this.#next(uid)) admitted.push(next);
      this.#tell(uid);
    }
    return admitted;
  }

  /** Forgets the users that have no client. To be called now and then. */
  tidy(): void {
    for (const [uid, inside] of this.#inside) if (inside === 0) this.#inside.delete(uid);
  }

  #insideOf(uid: number): number {
    return this.#inside.get(uid) ?? 0;
  }

  #hasRoom(uid: number): boolean {
    return this.#insideOf(uid) + (this.#others?.clients(uid) ?? 0) < this.#perUser;
  }

  #next(uid: number): T | undefined {
    const [next, ...others] = this.#waiting.get(uid) ?? [];
    if (next === undefined || !this.#hasRoom(uid)) return undefined;
    if (others.length > 0) this.#waiting.set(uid, others);
    else this.#waiting.delete(uid);
    this.#inside.set(uid, this.#insideOf(uid) + 1);
    return next;
  }

  /** Who waits counts, too: elsewhere nobody is to get in before. */
  #tell(uid: number): void {
    const waiting = this.#waiting.get(uid)?.length ?? 0;
    this.#others?.elsewhere(uid, this.#insideOf(uid) + waiting);
  }

  /** Forgets those who wait, and returns them. */
  clear(): T[] {
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    return all;
  }
}
