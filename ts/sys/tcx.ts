import { checked } from './error.ts';
import { library } from './foreign.ts';
import type { Direction } from './trafficControl.ts';

/**
 * Programs that the kernel runs on an interface's packets itself (tcx, 6.6), before it asks queueing disciplines for
 * filters. Attached by BPF_PROG_ATTACH they stay when this process ends; a bpf_link would go with it.
 */
const libbpf = library('libbpf.so.1', {
  bpf_prog_attach_opts: ['int', ['int', 'int', 'int', 'pointer']],
  bpf_prog_detach2: ['int', ['int', 'int', 'int']],
  bpf_prog_query: ['int', ['int', 'int', 'uint32', 'pointer', 'pointer', 'pointer']],
});

/** enum bpf_attach_type. */
const ATTACH_TYPE: Readonly<Record<Direction, number>> = { ingress: 46, egress: 47 };
/** In the place of the program named, which the kernel does without a grace period. */
const BPF_F_REPLACE = 4;
/** With no other program named: before all others. */
const BPF_F_BEFORE = 8;
/** On one interface, in one direction: BPF_MPROG_MAX, less the end of the kernel's list. */
export const MOST_TCX_PROGRAMS = 63;
/** `lo`, in every network namespace. */
export const LOOPBACK = 1;

const ENOENT = 2;
const EINVAL = 22;

function query(index: number, direction: Direction, ids: Buffer, count: Buffer): number {
  count.writeUInt32LE(MOST_TCX_PROGRAMS);
  return libbpf.bpf_prog_query(index, ATTACH_TYPE[direction], 0, null, ids, count);
}

/** Whether the kernel has tcx. EPERM without CAP_NET_ADMIN. */
export function hasTcx(): boolean {
  const result = query(LOOPBACK, 'egress', Buffer.alloc(4 * MOST_TCX_PROGRAMS), Buffer.alloc(4));
  if (result === -EINVAL) return false;
  if (result !== -ENOENT) checked('query of tcx', result);
  return true;
}

/** Ids of the programs on an interface, in the order in which they run. */
export function queryTcx(index: number, direction: Direction): number[] {
  const ids = Buffer.alloc(4 * MOST_TCX_PROGRAMS);
  const count = Buffer.alloc(4);
  const result = query(index, direction, ids, count);
  if (result === -ENOENT) return [];
  checked(`query of tcx ${direction} (interface ${index})`, result);
  return Array.from({ length: count.readUInt32LE() }, (_, i) => ids.readUInt32LE(4 * i));
}

/** Has a program run instead of `replaced`, or before all others on an interface. */
export function attachTcx(index: number, direction: Direction, program: number, replaced?: number): void {
  // struct bpf_prog_attach_opts: size_t sz; u32 flags; int replace_fd; what libbpf 1.1 does not know is left out.
  const options = Buffer.alloc(16);
  options.writeBigUInt64LE(BigInt(options.length), 0);
  options.writeUInt32LE(replaced === undefined ? BPF_F_BEFORE : BPF_F_REPLACE, 8);
  options.writeInt32LE(replaced ?? 0, 12);
  const result = libbpf.bpf_prog_attach_opts(program, index, ATTACH_TYPE[direction], options);
  checked(`attach to tcx ${direction} (interface ${index})`, result);
}

/** Without effect where the program is not on the interface. */
export function detachTcx(index: number, direction: Direction, program: number): void {
  const result = libbpf.bpf_prog_detach2(program, index, ATTACH_TYPE[direction]);
  if (result !== -ENOENT) checked(`detach from tcx ${direction} (interface ${index})`, result);
}
