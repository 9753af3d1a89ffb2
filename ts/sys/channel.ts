import { createRequire } from 'node:module';
import { artefact } from './artefacts.ts';
import { checked, SysError } from './error.ts';

interface Native {
  listen(path: string): number;
  connect(path: string): number;
  accept(fd: number, identity: Int32Array): number;
  receive(fd: number, buffer: Buffer, descriptors: Int32Array): number;
  send(fd: number, buffer: Buffer, descriptors: Int32Array): number;
  watch(fd: number, ready: () => void, writable: boolean): unknown;
  unwatch(handle: unknown): number;
  close(fd: number): number;
}

const native = createRequire(import.meta.url)(artefact('knockify_native.node')) as Native;

const EAGAIN = 11;
const MAX_DESCRIPTORS = 4;

/** Who is at the other end, from SO_PEERCRED: numbers of the process that connected. */
export interface Identity {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** One datagram with the descriptors that came along; the receiver owns them. Empty data is the end. */
export interface Datagram {
  readonly data: Uint8Array;
  readonly descriptors: readonly number[];
}

/** A listening SOCK_SEQPACKET Unix socket at `path`, readable and writable by the owner alone. */
export function listen(path: string): number {
  return checked(`listen(${path})`, native.listen(path));
}

/** Connects to a SOCK_SEQPACKET Unix socket. */
export function connect(path: string): number {
  return checked(`connect(${path})`, native.connect(path));
}

/** The next client, or undefined when none waits. */
export function accept(fd: number): { fd: number; identity: Identity } | undefined {
  const identity = new Int32Array(3);
  const client = native.accept(fd, identity);
  if (client === -EAGAIN) return undefined;
  const [pid = 0, uid = 0, gid = 0] = identity;
  return { fd: checked('accept', client), identity: { pid, uid: uid >>> 0, gid: gid >>> 0 } };
}

/** Receives without blocking; undefined when nothing is there. A datagram longer than `buffer` is an EMSGSIZE error. */
export function receive(fd: number, buffer: Buffer): Datagram | undefined {
  const received = new Int32Array(1 + MAX_DESCRIPTORS);
  const length = native.receive(fd, buffer, received);
  if (length === -EAGAIN) return undefined;
  checked('recvmsg', length);
  return { data: buffer.subarray(0, length), descriptors: [...received.subarray(1, 1 + (received[0] ?? 0))] };
}

/** Sends one datagram without blocking. */
export function send(fd: number, data: Uint8Array, descriptors: readonly number[] = []): void {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  checked('sendmsg', native.send(fd, bytes, Int32Array.from(descriptors)));
}

/**
 * Calls back whenever the descriptor is readable (or writable, if that is asked for), and after an error of it. The
 * returned function ends that, and must be called before closing.
 */
export function watch(
  fd: number,
  ready: () => void,
  event: 'readable' | 'writable' = 'readable',
): () => void {
  const handle = native.watch(fd, ready, event === 'writable');
  if (typeof handle === 'number') throw new SysError('uv_poll', -handle);
  return () => {
    native.unwatch(handle);
  };
}

/** Not by way of node:fs, which in a worker thread warns of descriptors that it has not opened. */
export function close(fd: number): void {
  checked('close', native.close(fd));
}
