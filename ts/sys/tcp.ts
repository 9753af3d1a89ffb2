import { addon } from './addon.ts';
import { checked } from './error.ts';
import { IPPROTO_TCP, OPTION, type OptionName, SOCK_STREAM } from './options.ts';

/**
 * The calls that a program makes on TCP sockets of its own. By way of the addon and not of the FFI, which crashes
 * when a worker thread that has loaded it ends. Connect and listen go past a preloaded libknockify.so. Nothing blocks.
 */

interface Native {
  socket(family: number, type: number, protocol: number): number;
  tcpListen(fd: number, backlog: number): number;
  bind(fd: number, sockaddr: Uint8Array): number;
  tcpConnect(fd: number, sockaddr: Uint8Array): number;
  getpeername(fd: number, sockaddr: Uint8Array): number;
  tcpSend(fd: number, bytes: Uint8Array): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array): number;
  getsockopt(fd: number, level: number, name: number, value: Uint8Array): number;
}

const native = addon as Native;

const SOCK_NONBLOCK = 0o4000;

/** A non-blocking TCP socket. */
export function socket(family: number): number {
  return checked('socket', native.socket(family, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP));
}

export function bind(fd: number, sockaddr: Uint8Array): void {
  checked('bind', native.bind(fd, sockaddr));
}

/** 0 or the errno; EINPROGRESS as a rule. */
export function connect(fd: number, sockaddr: Uint8Array): number {
  return Math.abs(native.tcpConnect(fd, sockaddr));
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

/** Sets an option that takes an `int`. */
export function setInt(fd: number, option: OptionName, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  const [level, name] = OPTION[option];
  checked(`setsockopt(${option})`, native.setsockopt(fd, level, name, bytes));
}

/** Reads an option that is an `int`. */
export function getInt(fd: number, option: OptionName): number {
  const bytes = Buffer.alloc(4);
  const [level, name] = OPTION[option];
  checked(`getsockopt(${option})`, native.getsockopt(fd, level, name, bytes));
  return bytes.readInt32LE();
}
