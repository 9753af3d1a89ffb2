import { getSystemErrorName } from 'node:util';
import { addon } from './addon.ts';
import * as channel from './channel.ts';
import { checked } from './error.ts';

interface Native {
  /** A descriptor, or -errno; then `fd` is the thread's. */
  readLater(fd: number, most: number): number;
}

const native = addon as Native;

/** The contents of an open file, with what fstat says of it. */
export interface OpenFile {
  /** The receiver's to wipe. */
  readonly bytes: Uint8Array;
  readonly mode: number;
  readonly uid: number;
}

/** The file behind a descriptor can't be used as a file; the message names it. */
export class FileError extends Error {
  override readonly name = 'FileError';
}

/** struct knk_file of native/reading.h. */
const FOUND = { error: 0, mode: 4, uid: 8, length: 12, size: 16, bytes: 24 } as const;

const FILE_TYPE = 0o170000;
const REGULAR = 0o100000;

function openFile(found: Buffer, max: number, name: string): OpenFile | FileError {
  const error = found.readInt32LE(FOUND.error);
  const mode = found.readUInt32LE(FOUND.mode);
  const size = found.readBigInt64LE(FOUND.size);
  if (error !== 0) return new FileError(`${name} can't be read (${getSystemErrorName(-error)})`);
  if ((mode & FILE_TYPE) !== REGULAR) return new FileError(`${name} is not a regular file`);
  if (size > max) return new FileError(`${name} has ${size} bytes; more than ${max} are not read`);
  // With a buffer of its own it can be wiped: V8 moves small arrays.
  const bytes = new Uint8Array(new ArrayBuffer(found.readUInt32LE(FOUND.length)));
  bytes.set(found.subarray(FOUND.bytes, FOUND.bytes + bytes.length));
  return { bytes, mode, uid: found.readUInt32LE(FOUND.uid) };
}

/** What comes of reading a file, whenever its file system likes. */
export interface Hopes {
  /** Once, unless reading could not be begun. */
  readonly read: (file: OpenFile | FileError) => void;
  /** Nothing is held for it any more. */
  readonly over: () => void;
}

/** For whatever is received next, and wiped then. */
let buffer = Buffer.alloc(0);

/**
 * Reads an open regular file from its start, up to `max` bytes, in a thread of its own, and closes it. Anything but a
 * regular file is a FileError. Throws SysError where there can be no thread; then the descriptor stays the caller's.
 */
export function readWhole(fd: number, max: number, name: string, { read, over }: Hopes): void {
  const result = checked('a thread to read with', native.readLater(fd, max));
  if (buffer.length < FOUND.bytes + max) buffer = Buffer.alloc(FOUND.bytes + max);
  const heed = () => {
    const { data } = channel.receive(result, buffer) ?? {};
    if (data === undefined) return;
    if (data.length > 0) {
      const file = openFile(buffer, max, name);
      data.fill(0);
      read(file);
      return;
    }
    unwatch();
    channel.close(result);
    over();
  };
  const unwatch = watched(result, heed, (error) => {
    channel.close(result);
    read(new FileError(`${name} can't be waited for: ${error}`));
    over();
  });
}

/** What goes wrong is told later, as everything else is. */
function watched(fd: number, readable: () => void, failed: (error: string) => void): () => void {
  try {
    return channel.watch(fd, readable);
  } catch (error) {
    setImmediate(failed, error instanceof Error ? error.message : String(error));
    return () => {};
  }
}
