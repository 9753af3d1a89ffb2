import { addon } from './addon.ts';
import { checked } from './error.ts';
import { IPPROTO_TCP, type OptionName, SOCK_STREAM } from './options.ts';
import { getUint, socket as newSocket } from './sockets.ts';

export { bind, connect, setInt } from './sockets.ts';

/**
 * The calls that a program makes on TCP sockets of its own. By way of the addon and not of the FFI, which crashes
 * when a worker thread that has loaded it ends. Connect and listen go past a preloaded libknockify.so. Nothing blocks.
 */

interface Native {
  tcpListen(fd: number, backlog: number): number;
  getpeername(fd: number, sockaddr: Uint8Array): number;
  tcpSend(fd: number, bytes: Uint8Array): number;
}

const native = addon as Native;

const SOCK_NONBLOCK = 0o4000;

/** A non-blocking TCP socket. */
export function socket(family: number): number {
  return newSocket(family, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
}

export function isConnected(fd: number): boolean {
  return native.getpeername(fd, Buffer.alloc(128)) > 0;
}

export function listen(fd: number, backlog: number): void {
  checked('listen', native.tcpListen(fd, backlog));
}

/** How many of the bytes the kernel took. */
export function send(fd: number, bytes: Uint8Array): number {
  return checked('send', native.tcpSend(fd, bytes));
}

/** Reads an option that is an `int`. */
export function getInt(fd: number, option: OptionName): number {
  return getUint(fd, option) | 0;
}
