import { SysError } from '../../sys/error.ts';
import { countFilters, interfaces } from '../../sys/libc.ts';
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
import { DIRECTIONS, type Filters, type Programs, tooManyError, type Way } from './filters.ts';

/** Ahead of all other filters. */
const PRIORITY = 1;
/** Ours alone, so that several programs can share the priority. */
const FIRST_HANDLE = 0x6b6e6f63;
const MOST_GENERATIONS = 64;
const GENERATIONS = Array.from({ length: MOST_GENERATIONS }, (_, generation) => generation);

const EINVAL = 22;
const ENODEV = 19;

/** The place of our filters; `generation` counts predecessors that could not be replaced. */
function filterPlace(index: number, direction: Direction, generation: number): FilterPlace {
  return { index, direction, handle: FIRST_HANDLE + generation, priority: PRIORITY };
}

/** Id of the egress program that a predecessor left on any interface at this place. */
function predecessor(generation: number): number | undefined {
  for (const index of interfaces()) {
    const id = queryFilter(filterPlace(index, 'egress', generation));
    if (id !== undefined) return id;
  }
  return undefined;
}

/** The first generation at which no interface has a filter. */
export function vacantGeneration(): number {
  const vacant = GENERATIONS.find((generation) => predecessor(generation) === undefined);
  if (vacant === undefined) throw tooManyError(MOST_GENERATIONS);
  return vacant;
}

/** True if anything hung there. */
function detachPlaces(index: number, generations: readonly number[]): boolean {
  const places = generations.flatMap((generation) =>
    DIRECTIONS.map((direction) => filterPlace(index, direction, generation)),
  );
  return places.map(detachFilter).includes(true);
}

class ClsactFilters implements Filters {
  readonly lossesAreTold = true;
  readonly #programs: Programs;
  readonly #generation: number;
  readonly #created = new Set<number>();

  constructor(programs: Programs, generation: number) {
    this.#programs = programs;
    this.#generation = generation;
  }

  attach(index: number): boolean {
    const hook = createHook(index);
    if (hook === 'gone') return false;
    if (hook === 'created') this.#created.add(index);
    try {
      for (const direction of DIRECTIONS) this.#attach(index, direction);
      return true;
    } catch (error) {
      if (!(error instanceof SysError && error.errno === ENODEV)) throw error;
      return false;
    }
  }

  restore(index: number): boolean {
    return this.attach(index);
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

  detach(index: number): void {
    const detached = detachPlaces(index, [this.#generation]);
    if (detached && this.#created.has(index) && countFilters(index) === 0) destroyHook(index);
  }

  /** Where the hook is new, no predecessor's filter can be. */
  undo(): void {
    for (const index of this.#created) {
      detachPlaces(index, [this.#generation]);
      if (countFilters(index) === 0) destroyHook(index);
    }
  }

  close(): void {}
}

/** Filters on a clsact queueing discipline. */
export const clsact: Way = {
  // Later ones are there only because this one could not be replaced.
  replaceable() {
    const id = predecessor(0);
    return id === undefined ? [] : [{ id, generation: 0 }];
  },
  all: () => GENERATIONS.flatMap((generation) => predecessor(generation) ?? []),
  filters: (programs, { generation }) => new ClsactFilters(programs, generation),
  // An engine may have made the queueing discipline, too: that goes if nothing else hangs there.
  clear(index, generation) {
    const detached = detachPlaces(index, generation === undefined ? GENERATIONS : [generation]);
    if (detached && countFilters(index) === 0) destroyHook(index);
  },
};
