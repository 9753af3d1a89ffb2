import { closeSync, openSync } from 'node:fs';
import { SysError } from '../../sys/error.ts';
import {
  close,
  countFilters,
  drainLinks,
  flock,
  interfaces,
  LOCK_EX,
  LOCK_SH,
  openLinks,
} from '../../sys/libc.ts';
import {
  attachFilter,
  createHook,
  type Direction,
  destroyHook,
  detachFilter,
  type FilterPlace,
  queryFilter,
} from '../../sys/trafficControl.ts';
import { EngineError } from '../engine.ts';

/** Ahead of all other filters: one that accepts a packet for good would let a SYN by. */
const PRIORITY = 1;
/** Ours alone, so that several programs can share the priority. */
const FIRST_HANDLE = 0x6b6e6f63;
export const MOST_PREDECESSORS = 64;
export const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

const EINVAL = 22;
const ENODEV = 19;
const ENOBUFS = 105;

/** The place of our filters; `generation` counts predecessors that could not be replaced. */
export function filterPlace(index: number, direction: Direction, generation: number): FilterPlace {
  return { index, direction, handle: FIRST_HANDLE + generation, priority: PRIORITY };
}

/** Id of the egress program that a predecessor left on any interface at this place. */
export function predecessor(generation: number): number | undefined {
  for (const index of interfaces()) {
    const id = queryFilter(filterPlace(index, 'egress', generation));
    if (id !== undefined) return id;
  }
  return undefined;
}

/** The first generation at which no interface has a filter. */
export function vacantGeneration(): number {
  for (let generation = 0; generation < MOST_PREDECESSORS; generation++) {
    if (predecessor(generation) === undefined) return generation;
  }
  throw new EngineError(
    `${MOST_PREDECESSORS} control processes left their filters behind; as root, run: knockify control --remove-filters`,
  );
}

/**
 * Keeps the two programs on every interface of the network namespace. Filters and not links, because they stay
 * when this process is killed: a delayed socket's SYN is held back even then.
 */
export class Links {
  readonly #programs: Readonly<Record<Direction, number>>;
  readonly #generation: number;
  /** Readable when interfaces have come, changed or gone. */
  readonly events: number;
  /** Shared by all engines in the namespace, whichever process they are in. */
  readonly #lock: number;
  readonly #covered = new Set<number>();
  readonly #created = new Set<number>();

  constructor(programs: Readonly<Record<Direction, number>>, generation: number) {
    this.#programs = programs;
    this.#generation = generation;
    this.#lock = openSync('/proc/self/ns/net', 'r');
    // Listen before looking: an interface that appears in between is seen twice, not missed.
    this.events = openLinks();
    try {
      flock(this.#lock, LOCK_SH);
      this.#coverAll();
    } catch (error) {
      this.#undo();
      this.#release();
      throw error;
    }
  }

  /** Where the hook is new, no predecessor's filter can be. Of what goes wrong here the first error tells more. */
  #undo(): void {
    for (const index of this.#created) {
      try {
        for (const direction of DIRECTIONS) detachFilter(filterPlace(index, direction, this.#generation));
        if (countFilters(index) === 0) destroyHook(index);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
      }
    }
  }

  /** Covers the interfaces that have appeared since, and those that lost a filter. To be called before a SYN can leave. */
  follow(): void {
    try {
      for (let events = drainLinks(this.events); events.length > 0; events = drainLinks(this.events)) {
        for (const { index, lost } of events) {
          if (lost) this.#covered.delete(index);
          this.#cover(index);
        }
      }
    } catch (error) {
      if (!(error instanceof SysError && error.errno === ENOBUFS)) throw error;
      this.#covered.clear();
      this.#coverAll();
    }
  }

  /** Leaves the filters in place, or with `purge` takes them away unless another engine works in this namespace. */
  close(purge: boolean): void {
    try {
      if (purge && flock(this.#lock, LOCK_EX)) for (const index of this.#covered) this.#uncover(index);
    } finally {
      this.#release();
    }
  }

  #release(): void {
    close(this.events);
    closeSync(this.#lock);
  }

  #coverAll(): void {
    for (const index of interfaces()) this.#cover(index);
  }

  #cover(index: number): void {
    if (this.#covered.has(index)) return;
    const hook = createHook(index);
    if (hook === 'gone') return;
    if (hook === 'created') this.#created.add(index);
    try {
      for (const direction of DIRECTIONS) this.#attach(index, direction);
      this.#covered.add(index);
    } catch (error) {
      if (!(error instanceof SysError && error.errno === ENODEV)) throw error;
    }
  }

  #attach(index: number, direction: Direction): void {
    try {
      attachFilter(filterPlace(index, direction, this.#generation), this.#programs[direction]);
    } catch (error) {
      if (!(error instanceof SysError && error.errno === EINVAL)) throw error;
      throw new EngineError(
        `interface ${index} has a filter of another kind at priority ${PRIORITY} (${direction}), where ours must be; move it ("tc filter show dev … ${direction}")`,
      );
    }
  }

  #uncover(index: number): void {
    const detached = DIRECTIONS.map((d) => detachFilter(filterPlace(index, d, this.#generation)));
    if (detached.includes(true) && this.#created.has(index) && countFilters(index) === 0) destroyHook(index);
  }
}
