import { SysError } from '../../sys/error.ts';
import { mapInfo, openMap, openProgram, programInfo } from '../../sys/libbpf.ts';
import { close } from '../../sys/libc.ts';
import { MAPS, MARK_BYTES, NOTE_VALUE_BYTES } from './layout.ts';
import { predecessor, vacantGeneration } from './links.ts';

/** BPF_MAP_TYPE_SK_STORAGE. */
const SOCKET_STORAGE = 24;
const VALUE_BYTES = new Map<string, number>([
  [MAPS.armed, MARK_BYTES],
  [MAPS.notes, NOTE_VALUE_BYTES],
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
      if (type === SOCKET_STORAGE && VALUE_BYTES.get(name) === valueSize) maps.set(name, fd);
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
  if (maps.size === VALUE_BYTES.size) return { generation: 0, maps };
  for (const fd of maps.values()) close(fd);
  return { generation: vacantGeneration(), maps: new Map() };
}
