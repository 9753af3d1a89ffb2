import { addon } from './addon.ts';
import { ByDescriptor } from './byDescriptor.ts';
import { checked } from './error.ts';

interface Native {
  listen(path: string): number;
  connect(path: string): number;
  accept(fd: number, identity: Int32Array): number;
  receive(fd: number, buffer: Buffer, descriptors: Int32Array): number;
  send(fd: number, data: Uint8Array, descriptors?: Int32Array): number;
  observe(ready: Int32Array, changed: (count: number) => void): number;
  add(fd: number, writable: boolean): number;
  remove(fd: number): number;
  close(fd: number): number;
  release(fd: number): number;
  hangUp(fd: number): number;
  releasing(uid: number): number;
}

const native = addon as Native;

const EAGAIN = 11;
/** SCM_MAX_FD. */
export const MOST_DESCRIPTORS = 253;

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

const identity = new Int32Array(3);

/** The next client, or undefined when none waits. */
export function accept(fd: number): { fd: number; identity: Identity } | undefined {
  const client = native.accept(fd, identity);
  if (client === -EAGAIN) return undefined;
  checked('accept', client);
  const [pid = 0, uid = 0, gid = 0] = identity;
  return { fd: client, identity: { pid, uid: uid >>> 0, gid: gid >>> 0 } };
}

const received = new Int32Array(1 + MOST_DESCRIPTORS);

/** Receives without blocking; undefined when nothing is there. A datagram longer than `buffer` is an EMSGSIZE error. */
export function receive(fd: number, buffer: Buffer): Datagram | undefined {
  const length = native.receive(fd, buffer, received);
  if (length === -EAGAIN) return undefined;
  const descriptors: number[] = [];
  for (let i = 1; i <= (received[0] ?? 0); i++) descriptors.push(received[i] ?? -1);
  return datagramOf(length, buffer, descriptors);
}

/** Of what a call for a datagram has returned. Throws SysError, and then releases the descriptors. */
export function datagramOf(length: number, buffer: Buffer, descriptors: readonly number[]): Datagram {
  if (length < 0) for (const fd of descriptors) release(fd);
  checked('recvmsg', length);
  return { data: buffer.subarray(0, length), descriptors };
}

/** Sends one datagram without blocking. */
export function send(fd: number, data: Uint8Array, descriptors: readonly number[] = []): void {
  const sent =
    descriptors.length === 0 ? native.send(fd, data) : native.send(fd, data, Int32Array.from(descriptors));
  checked('sendmsg', sent);
}

/** How many ready descriptors one turn of the event loop takes notice of. */
const MOST_READY = 64;
const ready = new Int32Array(MOST_READY);
const watchers = new ByDescriptor<() => void>();
let observing = false;

function callReady(count: number): void {
  for (let i = 0; i < count; i++) watchers.get(ready[i] ?? -1)?.();
}

/**
 * Calls back whenever the descriptor is readable (or writable, if that is asked for), and after an error of it. The
 * returned function ends that, and must be called before closing. One watcher a descriptor.
 */
export function watch(
  fd: number,
  callback: () => void,
  event: 'readable' | 'writable' = 'readable',
): () => void {
  if (!observing) checked('epoll_create', native.observe(ready, callReady));
  observing = true;
  checked('epoll_ctl', native.add(fd, event === 'writable'));
  watchers.set(fd, callback);
  return () => {
    if (watchers.get(fd) !== callback) return;
    watchers.delete(fd);
    native.remove(fd);
  };
}

/** Not by way of node:fs, which in a worker thread warns of descriptors that it has not opened. */
export function close(fd: number): void {
  checked('close', native.close(fd));
}

/**
 * The same for what was handed over: closing it may take as long as somebody else likes (a socket with SO_LINGER, a file
 * of a file system in user space), and another thread has to wait.
 */
export function release(fd: number): void {
  native.release(fd);
}

/** How many of what a user handed over is not closed yet. */
export function releasing(uid: number): number {
  return native.releasing(uid);
}

/** Closes a connection. With what was sent on it and not received it is released instead, as if that was one descriptor. */
export function hangUp(fd: number): void {
  checked('close', native.hangUp(fd));
}
