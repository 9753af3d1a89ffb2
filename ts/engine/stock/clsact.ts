import { SysError } from '../../sys/error.ts';
import { openProgram, programInfo } from '../../sys/libbpf.ts';
import { close, countFilters, interfaces } from '../../sys/libc.ts';
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
import { DIRECTIONS, type Filters, type Programs, type Way } from './filters.ts';

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
  if (vacant !== undefined) return vacant;
  throw new EngineError(
    `${MOST_GENERATIONS} control processes left their filters behind; as root, run: knockify control --remove-filters`,
  );
}

/** That of an engine whose egress program has one of these maps. */
export function generationWith(maps: ReadonlySet<number>): number | undefined {
  return GENERATIONS.find((generation) => {
    const id = predecessor(generation);
    if (id === undefined) return false;
    const program = openProgram(id);
    try {
      return programInfo(program).maps.some((map) => maps.has(map));
    } finally {
      close(program);
    }
  });
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
  readonly #ingress: number;
  readonly #generation: number;
  readonly #created = new Set<number>();
  /** Where nothing of a predecessor's was; undefined when it stays in any case. */
  #hung: FilterPlace[] | undefined = [];

  constructor(programs: Programs, generation: number) {
    this.#programs = programs;
    this.#ingress = programInfo(programs.ingress).id;
    this.#generation = generation;
  }

  attach(index: number): boolean {
    const hook = createHook(index);
    if (hook === 'gone') return false;
    if (hook === 'created') this.#created.add(index);
    try {
      for (const direction of DIRECTIONS) this.#attach(filterPlace(index, direction, this.#generation));
      if (hook === 'there') this.#assertBothWays(index);
      return true;
    } catch (error) {
      if (!(error instanceof SysError && error.errno === ENODEV)) throw error;
      return false;
    }
  }

  restore(index: number): boolean {
    return this.attach(index);
  }

  #attach(place: FilterPlace): void {
    const { index, direction } = place;
    if (this.#hung !== undefined && queryFilter(place) === undefined) this.#hung.push(place);
    try {
      attachFilter(place, this.#programs[direction]);
    } catch (error) {
      if (!(error instanceof SysError && error.errno === EINVAL)) throw error;
      throw new EngineError(
        `interface ${index} has a filter of another kind at priority ${PRIORITY} (${direction}), where ours must be; move it ("tc filter show dev … ${direction}")`,
      );
    }
  }

  /**
   * The queueing discipline `ingress` has one list of filters, whatever the direction that is asked for, and the kernel says it is
   * there like clsact: what was hung last then hangs in the place of what was hung first, and no packet that leaves comes by.
   */
  #assertBothWays(index: number): void {
    const ingress = queryFilter(filterPlace(index, 'ingress', this.#generation));
    if (ingress === undefined || ingress === this.#ingress) return;
    detachPlaces(index, [this.#generation]);
    throw new EngineError(
      `interface ${index} has the queueing discipline 'ingress', which has no filters for what leaves; put clsact in its place, which has both ("tc qdisc show dev …")`,
    );
  }

  detach(index: number): void {
    const detached = detachPlaces(index, [this.#generation]);
    if (detached && this.#created.has(index) && countFilters(index) === 0) destroyHook(index);
  }

  undo(): void {
    for (const place of this.#hung ?? []) detachFilter(place);
    for (const index of this.#created) if (countFilters(index) === 0) destroyHook(index);
  }

  keep(): void {
    this.#hung = undefined;
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
  filters(programs, { generation, programs: kept }) {
    // Places tell what is whose here.
    for (const fd of kept) close(fd);
    return new ClsactFilters(programs, generation);
  },
  // An engine may have made the queueing discipline, too: that goes if nothing else hangs there.
  clear(index, generation) {
    const detached = detachPlaces(index, generation === undefined ? GENERATIONS : [generation]);
    if (detached && countFilters(index) === 0) destroyHook(index);
  },
};
