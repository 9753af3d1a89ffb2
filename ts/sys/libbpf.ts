import { accessSync } from 'node:fs';
import { artefact } from './artefacts.ts';
import { capabilityRemedy } from './capabilities.ts';
import { checked, SysError } from './error.ts';
import { addressOf, library } from './foreign.ts';

/** libbpf 1.x, which returns -errno (or NULL). */
const libbpf = library('libbpf.so.1', {
  libbpf_set_print: ['handle', ['handle']],
  bpf_object__open: ['handle', ['string']],
  bpf_object__load: ['int', ['handle']],
  bpf_object__close: ['void', ['handle']],
  bpf_object__next_program: ['handle', ['handle', 'handle']],
  bpf_object__find_program_by_name: ['handle', ['handle', 'string']],
  bpf_object__find_map_by_name: ['handle', ['handle', 'string']],
  bpf_program__fd: ['int', ['handle']],
  bpf_program__set_log_buf: ['int', ['handle', 'pointer', 'size_t']],
  bpf_program__set_log_level: ['int', ['handle', 'uint32']],
  bpf_map__fd: ['int', ['handle']],
  bpf_map__reuse_fd: ['int', ['handle', 'int']],
  bpf_map__set_initial_value: ['int', ['handle', 'pointer', 'size_t']],
  bpf_map_lookup_elem: ['int', ['int', 'pointer', 'pointer']],
  bpf_map_update_elem: ['int', ['int', 'pointer', 'pointer', 'uint64']],
  bpf_map_delete_elem: ['int', ['int', 'pointer']],
  bpf_prog_get_fd_by_id: ['int', ['uint32']],
  bpf_map_get_fd_by_id: ['int', ['uint32']],
  bpf_prog_bind_map: ['int', ['int', 'int', 'pointer']],
  bpf_obj_get_info_by_fd: ['int', ['int', 'pointer', 'pointer']],
  libbpf_num_possible_cpus: ['int', []],
});

// libbpf writes what it thinks to stderr, where an application's users would read it.
libbpf.libbpf_set_print(0n);

const ENOENT = 2;
const EAGAIN = 11;
const LOAD_ATTEMPTS = 20;
const VERIFIER_LOG_BYTES = 1 << 20;
const VERIFIER_LOG_LINES = 12;

/** What to put in place between opening an object file and loading it. */
export interface Preparation {
  /** The whole of the object's read-only data. */
  readonly rodata?: Uint8Array;
  /** Existing maps, by name, to use instead of new ones. */
  readonly maps?: ReadonlyMap<string, number>;
}

/** A loaded object file. Its programs and maps live as long as it is open or something in the kernel uses them. */
export interface BpfObject {
  /** Descriptor of a program; owned by the object. */
  program(name: string): number;
  /** Descriptor of a map; owned by the object. */
  map(name: string): number;
  close(): void;
}

function open(file: string, preparation: Preparation): bigint {
  accessSync(file);
  const object = libbpf.bpf_object__open(file);
  if (object === 0n) throw new Error(`${file} is not a BPF object file; build it again`);
  try {
    for (const [name, fd] of preparation.maps ?? []) {
      checked(`bpf_map__reuse_fd(${name})`, libbpf.bpf_map__reuse_fd(find(object, 'map', name), fd));
    }
    if (preparation.rodata) {
      const map = find(object, 'map', '.rodata');
      const { rodata } = preparation;
      checked('bpf_map__set_initial_value', libbpf.bpf_map__set_initial_value(map, rodata, rodata.length));
    }
    return object;
  } catch (error) {
    libbpf.bpf_object__close(object);
    throw error;
  }
}

function find(object: bigint, kind: 'map' | 'program', name: string): bigint {
  const found =
    kind === 'map'
      ? libbpf.bpf_object__find_map_by_name(object, name)
      : libbpf.bpf_object__find_program_by_name(object, name);
  if (found === 0n) throw new Error(`the BPF object has no ${kind} named ${name}`);
  return found;
}

/** Loads once more, only to hear what the verifier has to say. */
function verifierLog(file: string, preparation: Preparation): string {
  const object = open(file, preparation);
  const log = Buffer.alloc(VERIFIER_LOG_BYTES);
  try {
    let program = libbpf.bpf_object__next_program(object, 0n);
    while (program !== 0n) {
      libbpf.bpf_program__set_log_buf(program, log, log.length);
      libbpf.bpf_program__set_log_level(program, 1);
      program = libbpf.bpf_object__next_program(object, program);
    }
    libbpf.bpf_object__load(object);
    const text = log.toString('latin1', 0, log.indexOf(0)).trimEnd();
    return text.split('\n').slice(-VERIFIER_LOG_LINES).join('\n');
  } finally {
    libbpf.bpf_object__close(object);
  }
}

function loadFailure(name: string, errno: number, log: () => string): Error {
  const remedy = capabilityRemedy(['CAP_NET_ADMIN', 'CAP_BPF']);
  if (remedy !== undefined) return new SysError(`bpf(${name})`, errno, remedy);
  const text = log();
  return new SysError(
    `bpf(${name})`,
    errno,
    text === '' ? undefined : `the kernel's verifier says:\n${text}`,
  );
}

/** Loads `name` from the build directory. A refusal by the kernel's verifier comes with the end of its log. */
export function loadBpf(name: string, preparation: Preparation = {}): BpfObject {
  const file = artefact(name);
  let object = open(file, preparation);
  let result = libbpf.bpf_object__load(object);
  // The verifier gives up whenever a signal waits for the process.
  for (let attempt = 1; result === -EAGAIN && attempt < LOAD_ATTEMPTS; attempt++) {
    libbpf.bpf_object__close(object);
    object = open(file, preparation);
    result = libbpf.bpf_object__load(object);
  }
  if (result < 0) {
    libbpf.bpf_object__close(object);
    throw loadFailure(name, -result, () => verifierLog(file, preparation));
  }
  return {
    program: (program) => libbpf.bpf_program__fd(find(object, 'program', program)),
    map: (map) => libbpf.bpf_map__fd(find(object, 'map', map)),
    close: () => {
      libbpf.bpf_object__close(object);
    },
  };
}

function socketKey(fd: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeInt32LE(fd);
  return key;
}

/** A value of `size` bytes in a BPF map; undefined if there is none under the key. */
export function readMapValue(map: number, key: Uint8Array, size: number): Buffer | undefined {
  const value = Buffer.alloc(size);
  const result = libbpf.bpf_map_lookup_elem(map, key, value);
  if (result === -ENOENT) return undefined;
  checked('bpf_map_lookup_elem', result);
  return value;
}

/** Puts a value into a BPF map, in place of one that is there. */
export function writeMapValue(map: number, key: Uint8Array, value: Uint8Array): void {
  checked('bpf_map_update_elem', libbpf.bpf_map_update_elem(map, key, value, 0));
}

/** How many values an element of a map has that has one for each processor; each takes a multiple of 8 bytes. */
export function processors(): number {
  return checked('libbpf_num_possible_cpus', libbpf.libbpf_num_possible_cpus());
}

/** A socket's value in a socket-storage map; undefined if it has none. */
export function readStorage(map: number, fd: number, size: number): Buffer | undefined {
  return readMapValue(map, socketKey(fd), size);
}

export function writeStorage(map: number, fd: number, value: Uint8Array): void {
  writeMapValue(map, socketKey(fd), value);
}

/** Without effect if the socket has no value. */
export function deleteStorage(map: number, fd: number): void {
  const result = libbpf.bpf_map_delete_elem(map, socketKey(fd));
  if (result !== -ENOENT) checked('bpf_map_delete_elem', result);
}

/** Keeps a map for as long as a program that doesn't use it (5.10). */
export function bindProgramMap(program: number, map: number): void {
  checked('BPF_PROG_BIND_MAP', libbpf.bpf_prog_bind_map(program, map, null));
}

/** What the kernel tells of a loaded program. */
export interface ProgramInfo {
  readonly id: number;
  readonly name: string;
  readonly maps: readonly number[];
}

// Offsets in struct bpf_prog_info and struct bpf_map_info (linux/bpf.h); the kernel fills in as much as there is room for.
const PROGRAM_INFO = { size: 80, id: 4, mapCount: 52, maps: 56, name: 64 } as const;
const MAP_INFO = { size: 40, type: 0, valueSize: 12, name: 24 } as const;
const NAME_BYTES = 16;
const MOST_MAPS = 16;

function info(fd: number, value: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  checked('BPF_OBJ_GET_INFO_BY_FD', libbpf.bpf_obj_get_info_by_fd(fd, value, length));
  return value;
}

function nameAt(value: Buffer, offset: number): string {
  const bytes = value.subarray(offset, offset + NAME_BYTES);
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? NAME_BYTES : end);
}

/** A new descriptor. EPERM without CAP_SYS_ADMIN, ENOENT if it is gone. */
export function openProgram(id: number): number {
  return checked('BPF_PROG_GET_FD_BY_ID', libbpf.bpf_prog_get_fd_by_id(id));
}

/** A new descriptor. EPERM without CAP_SYS_ADMIN, ENOENT if it is gone. */
export function openMap(id: number): number {
  return checked('BPF_MAP_GET_FD_BY_ID', libbpf.bpf_map_get_fd_by_id(id));
}

export function programInfo(fd: number): ProgramInfo {
  const ids = Buffer.alloc(4 * MOST_MAPS);
  const value = Buffer.alloc(PROGRAM_INFO.size);
  value.writeUInt32LE(MOST_MAPS, PROGRAM_INFO.mapCount);
  value.writeBigUInt64LE(addressOf(ids), PROGRAM_INFO.maps);
  info(fd, value);
  const count = Math.min(MOST_MAPS, value.readUInt32LE(PROGRAM_INFO.mapCount));
  const maps = Array.from({ length: count }, (_, i) => ids.readUInt32LE(4 * i));
  return { id: value.readUInt32LE(PROGRAM_INFO.id), name: nameAt(value, PROGRAM_INFO.name), maps };
}

export function mapInfo(fd: number): {
  readonly name: string;
  readonly type: number;
  readonly valueSize: number;
} {
  const value = info(fd, Buffer.alloc(MAP_INFO.size));
  return {
    name: nameAt(value, MAP_INFO.name),
    type: value.readUInt32LE(MAP_INFO.type),
    valueSize: value.readUInt32LE(MAP_INFO.valueSize),
  };
}
