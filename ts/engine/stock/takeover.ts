import { SysError } from '../../sys/error.ts';
import { mapInfo, openMap, openProgram, programInfo } from '../../sys/libbpf.ts';
import { close } from '../../sys/libc.ts';
import { MAPS, MARK_BYTES, NOTE_VALUE_BYTES, SYN_BYTES } from './layout.ts';
import { predecessor, vacantGeneration } from './links.ts';

/** BPF_MAP_TYPE_SK_STORAGE and BPF_MAP_TYPE_LRU_HASH. */
const SOCKET_STORAGE = 24;
const LRU_HASH = 9;
const KINDS = new Map<string, { readonly type: number; readonly valueSize: number }>([
  [MAPS.armed, { type: SOCKET_STORAGE, valueSize: MARK_BYTES }],
  [MAPS.notes, { type: SOCKET_STORAGE, valueSize: NOTE_VALUE_BYTES }],
  [MAPS.syns, { type: LRU_HASH, valueSize: SYN_BYTES }],
]);
const EPERM = 1;
const ENOENT = 2;

/** What a predecessor left: the place of its filters, and descriptors of its maps where they can be had. */
export interface Inheritance {
  readonly generation: number;
  readonly maps: ReadonlyMap<string, number>;
}

/** Our maps among those of a program; the caller closes the descriptors. */
function mapsOf(programId: number): Map<string, number> {
  const maps = new Map<string, number>();
  const program = openProgram(programId);
  try {
    for (const id of programInfo(program).maps) {
      const fd = openMap(id);
      const { name, type, valueSize } = mapInfo(fd);
      const kind = KINDS.get(name);
      if (kind?.type === type && kind.valueSize === valueSize) maps.set(name, fd);
      else close(fd);
    }
    return maps;
  } finally {
    close(program);
  }
}

/**
 * A control process that was killed leaves its filters, and sockets marked in its maps. Whoever comes next goes on
 * with the same maps, so that those sockets stay what they were, and replaces the filters in place. Without
 * CAP_SYS_ADMIN the kernel hands nobody's maps out: then the old filters stay beside ours and go on holding
 * their sockets back. The same where a predecessor's maps have another layout.
 */
export function inherit(): Inheritance {
  const id = predecessor(0);
  if (id === undefined) return { generation: 0, maps: new Map() };
  let maps = new Map<string, number>();
  try {
    maps = mapsOf(id);
  } catch (error) {
    if (!(error instanceof SysError && (error.errno === EPERM || error.errno === ENOENT))) throw error;
  }
  if (maps.size === KINDS.size) return { generation: 0, maps };
  for (const fd of maps.values()) close(fd);
  return { generation: vacantGeneration(), maps: new Map() };
}
