import { closeSync, openSync } from 'node:fs';
import { SysError } from '../../sys/error.ts';
import { close, drainLinks, flock, interfaces, LOCK_EX, LOCK_SH, openLinks } from '../../sys/libc.ts';
import { EngineError } from '../engine.ts';
import type { Filters, Programs, Way } from './filters.ts';
import type { Inheritance } from './takeover.ts';
import type { Ways } from './ways.ts';

const ENOBUFS = 105;
/** To take filters away waits for two grace periods of RCU at each interface, of which there may be hundreds. Milliseconds. */
const SHARED_WITHIN = 30_000;

/** Who starts or removes filters has the lock for itself as long as that takes. */
function share(lock: number): void {
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  const end = performance.now() + SHARED_WITHIN;
  while (!flock(lock, LOCK_SH)) {
    if (performance.now() > end)
      throw new EngineError(
        'another process starts or removes filters in this network namespace, and does not come to an end (lslocks shows it)',
      );
    Atomics.wait(nothing, 0, 0, 5);
  }
}

/**
 * Keeps the two programs on every interface of the network namespace. Filters and not links, because they stay
 * when this process is killed: a delayed socket's SYN is held back even then.
 */
export class Links {
  readonly #filters: Filters;
  /** Readable when interfaces have come, changed or gone. */
  readonly events: number;
  /** Shared by all engines in the namespace, whichever process they are in. */
  readonly #lock: number;
  readonly #covered = new Set<number>();
  /** Interfaces that could not be covered, and why. */
  readonly #bare = new Map<number, unknown>();

  /** Of the `ways` the first is used. In the others a predecessor may have left something. */
  constructor(programs: Programs, inheritance: Inheritance, [way, ...others]: Ways) {
    this.#filters = way.filters(programs, inheritance);
    this.#lock = openSync('/proc/self/ns/net', 'r');
    // Listen before looking: an interface that appears in between is seen twice, not missed.
    this.events = openLinks();
    try {
      const isAlone = flock(this.#lock, LOCK_EX);
      share(this.#lock);
      if (isAlone) this.#replace(others, inheritance.generation);
      else this.#coverAll();
      this.#assertCovered();
      this.#filters.keep();
    } catch (error) {
      this.#undo();
      this.#release();
      throw error;
    }
  }

  /** What others have hung they look after themselves, as long as they work. */
  #replace(others: readonly Way[], generation: number): void {
    for (const index of interfaces()) {
      if (!this.#filters.attach(index)) continue;
      this.#covered.add(index);
      for (const other of others) other.clear(index, generation);
    }
  }

  /** Of what goes wrong here the first error tells more. */
  #undo(): void {
    try {
      this.#filters.undo();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  }

  /**
   * Covers the interfaces that have appeared since, and those that lost a filter. To be called before a SYN can leave, and
   * now and then for `all`: also those that lost one without a word. Throws as long as there is one that can't be covered.
   */
  follow(all: boolean): void {
    for (const index of [...this.#bare.keys()]) this.#cover(index);
    this.#drain();
    if (all && !this.#filters.lossesAreTold) this.#lookAgain();
    this.#assertCovered();
  }

  /** Whether `follow` would throw. */
  get areBare(): boolean {
    return this.#bare.size > 0;
  }

  #assertCovered(): void {
    for (const error of this.#bare.values()) throw error;
  }

  #drain(): void {
    try {
      for (let events = drainLinks(this.events); events.length > 0; events = drainLinks(this.events)) {
        for (const { index, lost } of events) {
          if (lost) this.#covered.delete(index);
          this.#cover(index);
        }
      }
    } catch (error) {
      if (!(error instanceof SysError && error.errno === ENOBUFS)) throw error;
      this.#lookAgain();
    }
  }

  #lookAgain(): void {
    this.#covered.clear();
    this.#coverAll();
  }

  /** Leaves the filters in place, or with `purge` takes them away unless another engine works in this namespace. */
  close(purge: boolean): void {
    try {
      if (purge && flock(this.#lock, LOCK_EX)) for (const index of interfaces()) this.#filters.detach(index);
    } finally {
      this.#release();
    }
  }

  #release(): void {
    this.#filters.close();
    close(this.events);
    closeSync(this.#lock);
  }

  #coverAll(): void {
    for (const index of interfaces()) this.#cover(index);
  }

  /** What goes wrong is kept for `#assertCovered`: the others are covered all the same. */
  #cover(index: number): void {
    if (this.#covered.has(index)) return;
    try {
      if (this.#filters.restore(index)) this.#covered.add(index);
      this.#bare.delete(index);
    } catch (error) {
      this.#bare.set(index, error);
    }
  }
}
