import { checked } from './error.ts';
import { library } from './foreign.ts';

const libbpf = library('libbpf.so.1', {
  bpf_tc_hook_create: ['int', ['pointer']],
  bpf_tc_hook_destroy: ['int', ['pointer']],
  bpf_tc_attach: ['int', ['pointer', 'pointer']],
  bpf_tc_detach: ['int', ['pointer', 'pointer']],
  bpf_tc_query: ['int', ['pointer', 'pointer']],
});

/** enum bpf_tc_attach_point. */
const ATTACH_POINT = { ingress: 1, egress: 2, both: 3 } as const;
export type Direction = 'ingress' | 'egress';

/** Where a filter hangs: its place in the interface's list. */
export interface FilterPlace {
  readonly index: number;
  readonly direction: Direction;
  readonly handle: number;
  readonly priority: number;
}

const ENOENT = 2;
const EEXIST = 17;
const ENODEV = 19;
const EINVAL = 22;
const BPF_TC_F_REPLACE = 1;

/** struct bpf_tc_hook: size_t sz; int ifindex; enum attach_point; u32 parent. */
function hook(index: number, point: keyof typeof ATTACH_POINT): Buffer {
  const value = Buffer.alloc(24);
  value.writeBigUInt64LE(BigInt(value.length), 0);
  value.writeInt32LE(index, 8);
  value.writeInt32LE(ATTACH_POINT[point], 12);
  return value;
}

/** struct bpf_tc_opts: size_t sz; int prog_fd; u32 flags; u32 prog_id; u32 handle; u32 priority. */
function options(place: FilterPlace, program = 0, flags = 0): Buffer {
  const value = Buffer.alloc(32);
  value.writeBigUInt64LE(BigInt(value.length), 0);
  value.writeInt32LE(program, 8);
  value.writeUInt32LE(flags, 12);
  value.writeUInt32LE(place.handle, 20);
  value.writeUInt32LE(place.priority, 24);
  return value;
}

/** `gone`: there is no such interface any more. */
export type HookState = 'created' | 'there' | 'gone';

/** Gives an interface a clsact queueing discipline, on which filters hang. */
export function createHook(index: number): HookState {
  const result = libbpf.bpf_tc_hook_create(hook(index, 'both'));
  if (result === -EEXIST) return 'there';
  if (result === -ENODEV) return 'gone';
  checked(`tc qdisc add clsact (interface ${index})`, result);
  return 'created';
}

/** Removes the clsact queueing discipline with all its filters. */
export function destroyHook(index: number): void {
  const result = libbpf.bpf_tc_hook_destroy(hook(index, 'both'));
  if (result !== -ENODEV) checked(`tc qdisc del clsact (interface ${index})`, result);
}

/** Hangs a direct-action program in its place, instead of the one that is there already. */
export function attachFilter(place: FilterPlace, program: number): void {
  const opts = options(place, program, BPF_TC_F_REPLACE);
  checked(
    `tc filter replace ${place.direction} (interface ${place.index})`,
    libbpf.bpf_tc_attach(hook(place.index, place.direction), opts),
  );
}

/** False if nothing hung there. */
export function detachFilter(place: FilterPlace): boolean {
  const result = libbpf.bpf_tc_detach(hook(place.index, place.direction), options(place));
  if (result === -ENOENT || result === -ENODEV || result === -EINVAL) return false;
  checked(`tc filter del ${place.direction} (interface ${place.index})`, result);
  return true;
}

/** Id of the program in a place; undefined if there is none. */
export function queryFilter(place: FilterPlace): number | undefined {
  const opts = options(place);
  const result = libbpf.bpf_tc_query(hook(place.index, place.direction), opts);
  // Without a clsact queueing discipline the kernel calls the parent invalid.
  if (result === -ENOENT || result === -ENODEV || result === -EINVAL) return undefined;
  checked(`tc filter get ${place.direction} (interface ${place.index})`, result);
  return opts.readUInt32LE(16);
}
