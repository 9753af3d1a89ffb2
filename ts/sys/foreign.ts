import { createRequire } from 'node:module';

// Both packages are CommonJS; require() gives the same object under tsc's output, tsx and vitest.
const require = createRequire(import.meta.url);
const ffi = require('ffi-napi') as typeof import('ffi-napi');
const ref = require('ref-napi') as typeof import('ref-napi');

/** C types in use, and what stands for them here. A pointer is a Buffer (its memory), or null. */
interface Types {
  void: undefined;
  int: number;
  uint32: number;
  size_t: number;
  uint64: number;
  string: string | null;
  pointer: Buffer | null;
}
type TypeName = keyof Types;
type Signature = readonly [result: TypeName, parameters: readonly TypeName[]];
type Arguments<P extends readonly TypeName[]> = { -readonly [I in keyof P]: Types[P[I]] };
type Functions<D extends Record<string, Signature>> = {
  readonly [F in keyof D]: (...values: Arguments<D[F][1]>) => Types[D[F][0]];
};

/** Loads a shared library (a path, or a name for the dynamic linker) and the functions named. */
export function library<const D extends Record<string, Signature>>(name: string, functions: D): Functions<D> {
  // Library() appends ".so" to names without it, which would miss the addon; a loaded library it takes as it is.
  const loaded = new ffi.DynamicLibrary(name, ffi.DynamicLibrary.FLAGS.RTLD_NOW);
  const untyped = ffi.Library as unknown as (from: object, what: object) => Functions<D>;
  return untyped(loaded, functions);
}

/** A view of the same memory, as the FFI takes it. Node may move neither while the call runs. */
export function pointer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Where the bytes lie, for a pointer inside a struct. The caller keeps the Buffer alive. */
export function addressOf(bytes: Buffer): bigint {
  return BigInt(ref.address(bytes));
}

export function isNull(value: Buffer | null): value is null {
  return value === null || ref.isNull(value);
}

/** The `length` bytes that a C pointer points to; valid as long as that memory is. */
export function memoryAt(value: Buffer, length: number): Buffer {
  return ref.reinterpret(value, length, 0);
}
