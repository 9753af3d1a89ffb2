import { SysError } from '../../sys/error.ts';
import { openProgram, type ProgramInfo, programInfo } from '../../sys/libbpf.ts';
import { close, interfaces } from '../../sys/libc.ts';
import { attachTcx, detachTcx, LOOPBACK, MOST_TCX_PROGRAMS, queryTcx } from '../../sys/tcx.ts';
import type { Direction } from '../../sys/trafficControl.ts';
import { EngineError } from '../engine.ts';
import { generationWith, vacantGeneration } from './clsact.ts';
import { DIRECTIONS, type Filters, type Programs, type Way } from './filters.ts';

const NAMES: Readonly<Record<Direction, string>> = { ingress: 'knock_ingress', egress: 'knock_egress' };

const EPERM = 1;
const ENOENT = 2;
const ENODEV = 19;
const ERANGE = 34;

/** What `action` returns, or `otherwise` if it fails with this error. */
function unless<T>(errno: number, otherwise: T, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof SysError && error.errno === errno) return otherwise;
    throw error;
  }
}

/** Calls `look` with each of the programs, unless it is gone. EPERM without CAP_SYS_ADMIN, if there are any. */
function examine(ids: readonly number[], look: (fd: number, info: ProgramInfo) => void): void {
  for (const id of ids) {
    const fd = unless(ENOENT, undefined, () => openProgram(id));
    if (fd === undefined) continue;
    try {
      look(fd, programInfo(fd));
    } finally {
      close(fd);
    }
  }
}

/** False where the interface is gone. */
function onBoth(action: (direction: Direction) => void): boolean {
  return unless(ENODEV, false, () => {
    for (const direction of DIRECTIONS) action(direction);
    return true;
  });
}

/** Engines' egress programs on these interfaces. */
function egressOn(indices: readonly number[]): ProgramInfo[] {
  const ids = new Set(indices.flatMap((index) => unless(ENODEV, [], () => queryTcx(index, 'egress'))));
  const ours: ProgramInfo[] = [];
  examine([...ids], (_, info) => {
    if (info.name === NAMES.egress) ours.push(info);
  });
  return ours;
}

/**
 * An engine's programs are known by their maps: those that share one are a predecessor's, or another engine's that took over
 * in the same way. Without CAP_SYS_ADMIN nothing is known but what was kept.
 */
class TcxFilters implements Filters {
  /** Netlink says nothing of tcx. */
  readonly lossesAreTold = false;
  readonly #programs: Programs;
  readonly #ids: Readonly<Record<Direction, number>>;
  readonly #maps: ReadonlySet<number>;
  /** Descriptors of a predecessor's programs, by id. */
  readonly #kept: ReadonlyMap<number, number>;
  /** Interfaces on which a predecessor's were. */
  readonly #inherited = new Set<number>();

  constructor(programs: Programs, kept: readonly number[]) {
    this.#programs = programs;
    this.#kept = new Map(kept.map((fd) => [programInfo(fd).id, fd]));
    const { id: egress, maps } = programInfo(programs.egress);
    this.#ids = { egress, ingress: programInfo(programs.ingress).id };
    this.#maps = new Set(maps);
  }

  attach(index: number): boolean {
    return onBoth((direction) => this.#hang(index, direction, queryTcx(index, direction)));
  }

  restore(index: number): boolean {
    return onBoth((direction) => {
      const there = queryTcx(index, direction);
      let hangs = there.includes(this.#ids[direction]);
      if (!hangs) this.#eachKin(there, () => (hangs = true));
      if (!hangs) this.#hang(index, direction, there);
    });
  }

  detach(index: number): void {
    onBoth((direction) => {
      const there = queryTcx(index, direction);
      if (there.includes(this.#ids[direction])) detachTcx(index, direction, this.#programs[direction]);
      this.#eachKin(there, (fd) => detachTcx(index, direction, fd));
    });
  }

  /**
   * In the place of a predecessor's that is the first. Otherwise first comes ours, then that goes: both together do what one
   * does, so that there is no gap, and ours is ahead of what came in front of the other.
   */
  #hang(index: number, direction: Direction, there: readonly number[]): void {
    const [first, ...others] = there;
    let hangs = false;
    if (first !== undefined)
      this.#eachKin([first], (fd) => {
        attachTcx(index, direction, this.#programs[direction], fd);
        hangs = true;
        this.#inherited.add(index);
      });
    if (!hangs) this.#add(index, direction);
    this.#eachKin(others, (fd) => {
      this.#inherited.add(index);
      detachTcx(index, direction, fd);
    });
  }

  #add(index: number, direction: Direction): void {
    try {
      attachTcx(index, direction, this.#programs[direction]);
    } catch (error) {
      if (!(error instanceof SysError && error.errno === ERANGE)) throw error;
      throw new EngineError(
        `interface ${index} has ${MOST_TCX_PROGRAMS} programs (tcx ${direction}), and room for no more ("bpftool net"); what control processes left goes by: knockify control --remove-filters`,
      );
    }
  }

  /** Calls `use` with each program that shares a map with ours, but ours. */
  #eachKin(ids: readonly number[], use: (fd: number) => void): void {
    const others = ids.filter((id) => id !== this.#ids.ingress && id !== this.#ids.egress);
    for (const fd of others.flatMap((id) => this.#kept.get(id) ?? [])) use(fd);
    const strangers = others.filter((id) => !this.#kept.has(id));
    unless(EPERM, undefined, () =>
      examine(strangers, (fd, { maps }) => {
        if (maps.some((map) => this.#maps.has(map))) use(fd);
      }),
    );
  }

  undo(): void {
    for (const index of interfaces().filter((one) => !this.#inherited.has(one)))
      onBoth((direction) => detachTcx(index, direction, this.#programs[direction]));
  }

  keep(): void {
    this.#inherited.clear();
  }

  close(): void {
    for (const fd of this.#kept.values()) close(fd);
  }
}

/** Programs that the kernel runs by itself. */
export const tcx: Way = {
  // An interface that comes from another network namespace brings that one's programs along. Its loopback can't go.
  replaceable() {
    const programs = unless(EPERM, [], () => egressOn([LOOPBACK]));
    // It may have been killed before it had cleared all that its own predecessor left.
    return programs.map(({ id, maps }) => ({
      id,
      generation: generationWith(new Set(maps)) ?? vacantGeneration(),
    }));
  },
  all: () => egressOn(interfaces()).map(({ id }) => id),
  filters: (programs, { programs: kept }) => new TcxFilters(programs, kept),
  clear(index, generation) {
    // Maps tell what is whose here.
    if (generation !== undefined) return;
    onBoth((direction) =>
      examine(queryTcx(index, direction), (fd, { name }) => {
        if (name === NAMES[direction]) detachTcx(index, direction, fd);
      }),
    );
  },
};
