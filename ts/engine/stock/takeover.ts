import { SysError } from '../../sys/error.ts';
import { mapInfo, openMap, openProgram, programInfo } from '../../sys/libbpf.ts';
import { close } from '../../sys/libc.ts';
import type { Memory } from '../engine.ts';
import { vacantGeneration } from './clsact.ts';
import type { Programs, Way } from './filters.ts';
import {
  ECHOES_BYTES,
  MAPS,
  MARK_BYTES,
  NAMED_BYTES,
  NOTE_VALUE_BYTES,
  SYNS_BYTES,
  TOKENS_BYTES,
} from './layout.ts';
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

/** What a predecessor left, as far as it can be had. */
export interface Inheritance {
  /** Where its filters hang on a clsact queueing discipline, and by what name its maps are kept. */
  readonly generation: number;
  /** Descriptors, by name; none where there is no predecessor, or not its maps. */
  readonly maps: ReadonlyMap<string, number>;
  /** Descriptors of its programs, if they were kept. */
  readonly programs: readonly number[];
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

const KEPT = /^(maps|programs)\.(\d+)$/;

function keptName(kind: 'maps' | 'programs', generation: number): string {
  return `${kind}.${generation}`;
}

/** What a predecessor had stored; of several generations the first whose maps are whole. */
function keptOnes({ kept, forget }: Memory): Inheritance | undefined {
  const generations = new Map<number, { maps: Map<string, number>; programs: number[] }>();
  for (const { fd, name } of kept) {
    const [, kind, number] = KEPT.exec(name) ?? [];
    if (kind === undefined) continue;
    const generation = Number(number);
    const one = generations.get(generation) ?? { maps: new Map<string, number>(), programs: [] };
    generations.set(generation, one);
    if (kind === 'maps') add(one.maps, fd);
    else one.programs.push(fd);
  }
  let found: Inheritance | undefined;
  for (const [generation, { maps, programs }] of generations) {
    if (found === undefined && isWhole(maps)) {
      found = { generation, maps, programs };
      continue;
    }
    for (const fd of [...maps.values(), ...programs]) close(fd);
    for (const kind of ['maps', 'programs'] as const) forget(keptName(kind, generation));
  }
  return found;
}

/**
 * Has the maps stored for whoever comes next, and the programs, which it could not take away otherwise. The predecessor's
 * go: of all that ever were there would not be room.
 */
export function bequeath(
  generation: number,
  maps: readonly number[],
  { ingress, egress }: Programs,
  memory: Memory | undefined,
): void {
  memory?.keep(keptName('maps', generation), maps);
  memory?.forget(keptName('programs', generation));
  memory?.keep(keptName('programs', generation), [ingress, egress]);
}

/** None without CAP_SYS_ADMIN. */
function mapsIfPermitted(id: number): Map<string, number> {
  try {
    return mapsOf(id);
  } catch (error) {
    if (!(error instanceof SysError && (error.errno === EPERM || error.errno === ENOENT))) throw error;
    return new Map();
  }
}

/**
 * A control process that was killed leaves its filters, and sockets marked in its maps. Whoever comes next goes on
 * with the same maps, so that those sockets stay what they were, and replaces the filters. Without
 * CAP_SYS_ADMIN the kernel hands nobody's maps out: if the `memory` has not kept them either, the old filters stay
 * beside ours and go on holding their sockets back. The same where a predecessor's maps have another layout.
 */
export function inherit(memory: Memory | undefined, ways: readonly Way[]): Inheritance {
  const kept = memory && keptOnes(memory);
  if (kept !== undefined) return kept;
  for (const { id, generation } of ways.flatMap((way) => way.replaceable())) {
    const maps = mapsIfPermitted(id);
    if (isWhole(maps)) return { generation, maps, programs: [] };
    for (const fd of maps.values()) close(fd);
  }
  return { generation: vacantGeneration(), maps: new Map(), programs: [] };
}
