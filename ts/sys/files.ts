import { fstatSync, readSync } from 'node:fs';

/** The contents of an open file, with what fstat says of it. */
export interface OpenFile {
  readonly bytes: Uint8Array;
  readonly mode: number;
  readonly uid: number;
}

/** The file behind a descriptor can't be used as a file; the message names it. */
export class FileError extends Error {
  override readonly name = 'FileError';
}

/** Reads an open regular file from its start, up to `max` bytes. Never blocks: anything but a regular file is refused. */
export function readWhole(fd: number, max: number, name: string): OpenFile {
  const { mode, uid, size } = fstatSync(fd);
  if ((mode & 0o170000) !== 0o100000) throw new FileError(`${name} is not a regular file`);
  if (size > max) throw new FileError(`${name} has ${size} bytes; more than ${max} are not read`);
  const bytes = new Uint8Array(max);
  const length = readSync(fd, bytes, 0, max, 0);
  return { bytes: bytes.slice(0, length), mode, uid };
}
