import { createRequire } from 'node:module';

// CommonJS packages; require() gives the same object under tsc's output, tsx and vitest.
const require = createRequire(import.meta.url);
const ffi = require('ffi-napi') as typeof import('ffi-napi');
const ref = require('ref-napi') as typeof import('ref-napi');
// The packages' own callers make new Buffers for every argument, each with a finaliser: dozens of calls a connect
// then cost milliseconds of garbage collection. With the call itself, the storage is made once.
const { ffi_call: call } = require('ffi-napi/lib/bindings') as {
  ffi_call(cif: Buffer, target: Buffer, result: Buffer, parameters: Buffer): void;
};

/** C types in use, and what stands for them here. A pointer is a Buffer (its memory), or null. */
interface Types {
  void: undefined;
  int: number;
  uint32: number;
  size_t: number;
  uint64: number;
  string: string;
  pointer: Uint8Array | null;
  /** A pointer that C gave and only C looks into; 0n is NULL. */
  handle: bigint;
}
type TypeName = keyof Types;
type Signature = readonly [result: 'void' | 'int' | 'handle', parameters: readonly TypeName[]];
type Arguments<P extends readonly TypeName[]> = { -readonly [I in keyof P]: Types[P[I]] };
type Functions<D extends Record<string, Signature>> = {
  readonly [F in keyof D]: (...values: Arguments<D[F][1]>) => Types[D[F][0]];
};

const SLOT = 8;
const FFI_NAMES: Partial<Record<TypeName, string>> = { string: 'pointer', handle: 'uint64' };

/** Where the bytes lie, for a pointer inside a struct. The caller keeps the Buffer alive. */
export function addressOf(bytes: Uint8Array): bigint {
  return BigInt(ref.address(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
}

function put(slots: Buffer, at: number, type: TypeName, value: unknown, kept: Buffer[]): void {
  if (type === 'int') slots.writeInt32LE(value as number, at);
  else if (type === 'uint32') slots.writeUInt32LE((value as number) >>> 0, at);
  else if (type === 'handle') slots.writeBigUInt64LE(value as bigint, at);
  else if (type === 'string') {
    const text = Buffer.from(`${value}\0`);
    kept.push(text);
    slots.writeBigUInt64LE(addressOf(text), at);
  } else if (type === 'pointer') {
    slots.writeBigUInt64LE(value === null ? 0n : addressOf(value as Uint8Array), at);
  } else slots.writeBigUInt64LE(BigInt(value as number), at);
}

function callable(target: Buffer, [result, parameters]: Signature): (...values: unknown[]) => unknown {
  const names = parameters.map((type) => FFI_NAMES[type] ?? type);
  const cif = ffi.CIF(FFI_NAMES[result] ?? result, names);
  const slots = Buffer.alloc(SLOT * Math.max(parameters.length, 1));
  const pointers = Buffer.alloc(slots.length);
  const base = addressOf(slots);
  for (let i = 0; i < parameters.length; i++) pointers.writeBigUInt64LE(base + BigInt(SLOT * i), SLOT * i);
  const returned = Buffer.alloc(SLOT);
  return (...values) => {
    const kept: Buffer[] = [];
    parameters.forEach((type, i) => {
      put(slots, SLOT * i, type, values[i], kept);
    });
    call(cif, target, returned, pointers);
    if (result === 'void') return undefined;
    return result === 'int' ? returned.readInt32LE(0) : returned.readBigUInt64LE(0);
  };
}

/** Loads a shared library (a path, or a name for the dynamic linker) and the functions named. */
export function library<const D extends Record<string, Signature>>(name: string, functions: D): Functions<D> {
  const loaded = new ffi.DynamicLibrary(name, ffi.DynamicLibrary.FLAGS.RTLD_NOW);
  const entries = Object.entries(functions).map(([symbol, signature]) => [
    symbol,
    callable(loaded.get(symbol), signature),
  ]);
  return Object.fromEntries(entries) as Functions<D>;
}
