import { SysError } from '../../sys/error.ts';
import { mapInfo, openMap, openProgram, programInfo } from '../../sys/libbpf.ts';
import { close } from '../../sys/libc.ts';
import type { Memory } from '../engine.ts';
import {
  ECHOES_BYTES,
  MAPS,
  MARK_BYTES,
  NAMED_BYTES,
  NOTE_VALUE_BYTES,
  SYNS_BYTES,
  TOKENS_BYTES,
} from './layout.ts';
import { predecessor, vacantGeneration } from './links.ts';
import { COUNTS_BYTES, FOLLOWING_BYTES, LISTENER_BYTES } from './recordLayout.ts';

/** enum bpf_map_type. */
const ARRAY = 2;
const PER_CPU_ARRAY = 6;
const SOCKET_STORAGE = 24;
const RING_BUFFER = 27;
const KINDS = new Map<string, { readonly type: number; readonly valueSize: number }>([
  [MAPS.armed, { type: SOCKET_STORAGE, valueSize: MARK_BYTES }],
  [MAPS.notes, { type: SOCKET_STORAGE, valueSize: NOTE_VALUE_BYTES }],
  [MAPS.echoes, { type: ARRAY, valueSize: ECHOES_BYTES }],
  [MAPS.syns, { type: ARRAY, valueSize: SYNS_BYTES }],
  [MAPS.tokens, { type: ARRAY, valueSize: TOKENS_BYTES }],
  [MAPS.secrets, { type: ARRAY, valueSize: NAMED_BYTES }],
  [MAPS.listeners, { type: SOCKET_STORAGE, valueSize: LISTENER_BYTES }],
  [MAPS.counts, { type: PER_CPU_ARRAY, valueSize: COUNTS_BYTES }],
  [MAPS.following, { type: ARRAY, valueSize: FOLLOWING_BYTES }],
  [MAPS.events, { type: RING_BUFFER, valueSize: 0 }],
]);
/** A predecessor of an older release may lack the others: they begin anew then. */
const ESSENTIAL: readonly string[] = [MAPS.armed, MAPS.notes, MAPS.syns, MAPS.tokens];
const EPERM = 1;
const ENOENT = 2;

/** What a predecessor left: the place of its filters, and descriptors of its maps where they can be had. */
export interface Inheritance {
  readonly generation: number;
  readonly maps: ReadonlyMap<string, number>;
}

/** What is no map of ours, or one too many, is closed. */
function add(maps: Map<string, number>, fd: number): void {
  const { name, type, valueSize } = mapInfo(fd);
  const kind = KINDS.get(name);
  if (kind?.type === type && kind.valueSize === valueSize && !maps.has(name)) maps.set(name, fd);
  else close(fd);
}

/** Our maps among those of a program; the caller closes the descriptors. */
export function mapsOf(programId: number): Map<string, number> {
  const maps = new Map<string, number>();
  const program = openProgram(programId);
  try {
    for (const id of programInfo(program).maps) add(maps, openMap(id));
    return maps;
  } finally {
    close(program);
  }
}

function isWhole(maps: ReadonlyMap<string, number>): boolean {
  return ESSENTIAL.every((name) => maps.has(name));
}

function keptName(generation: number): string {
  return `maps.${generation}`;
}

/** The maps that a predecessor had stored; of several generations the first that is whole. */
function keptMaps({ kept, forget }: Memory): Inheritance | undefined {
  const generations = new Map<number, Map<string, number>>();
  for (const { fd, name } of kept) {
    const generation = Number(/^maps\.(\d+)$/.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(generation)) continue;
    const maps = generations.get(generation) ?? new Map<string, number>();
    generations.set(generation, maps);
    add(maps, fd);
  }
  let found: Inheritance | undefined;
  for (const [generation, maps] of generations) {
    if (found === undefined && isWhole(maps)) {
      found = { generation, maps };
      continue;
    }
    for (const fd of maps.values()) close(fd);
    forget(keptName(generation));
  }
  return found;
}

/** Has the maps stored for whoever comes next. */
export function bequeath(generation: number, maps: readonly number[], memory: Memory | undefined): void {
  memory?.keep(keptName(generation), maps);
}

/**
 * A control process that was killed leaves its filters, and sockets marked in its maps. Whoever comes next goes on
 * with the same maps, so that those sockets stay what they were, and replaces the filters in place. Without
 * CAP_SYS_ADMIN the kernel hands nobody's maps out: if the `memory` has not kept them either, the old filters stay
 * beside ours and go on holding their sockets back. The same where a predecessor's maps have another layout.
 */
export function inherit(memory: Memory | undefined): Inheritance {
  const kept = memory && keptMaps(memory);
  if (kept !== undefined) return kept;
  const id = predecessor(0);
  if (id === undefined) return { generation: 0, maps: new Map() };
  let maps = new Map<string, number>();
  try {
    maps = mapsOf(id);
  } catch (error) {
    if (!(error instanceof SysError && (error.errno === EPERM || error.errno === ENOENT))) throw error;
  }
  if (isWhole(maps)) return { generation: 0, maps };
  for (const fd of maps.values()) close(fd);
  return { generation: vacantGeneration(), maps: new Map() };
}
