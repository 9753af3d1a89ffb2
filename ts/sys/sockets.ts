import { addon } from './addon.ts';
import { checked } from './error.ts';
import { OPTION, type OptionName } from './options.ts';

const REMEDIES: Partial<Record<OptionName, Readonly<Record<number, string>>>> = {
  TCP_REPAIR: { 1: 'needs CAP_NET_ADMIN in this network namespace' },
};

interface Calls {
  socket(family: number, type: number, protocol: number): number;
  close(fd: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array): number;
  getsockopt(fd: number, level: number, name: number, value: Uint8Array): number;
  tcpConnect(fd: number, sockaddr: Uint8Array): number;
  disconnect(fd: number): number;
  bind(fd: number, sockaddr: Uint8Array): number;
  getsockname(fd: number, sockaddr: Uint8Array): number;
  getpeername(fd: number, sockaddr: Uint8Array): number;
  socketFilter(fd: number): number;
  dropAll(fd: number): number;
  dropsAll(fd: number): number;
  peek(fd: number, bytes: Uint8Array): number;
  writeIsn(fd: number, isn: number): number;
  readReceiveSequence(fd: number, sequence: Uint8Array): number;
  handsBehind(): number;
}

/**
 * Not by way of the FFI: whoever handed a socket over may have its calls take as long as he likes (native/hands.h), and the
 * FFI crashes when a worker thread that has loaded it ends.
 */
const calls = addon as Calls;

export function setBytes(fd: number, option: OptionName, value: Uint8Array): void {
  const [level, name] = OPTION[option];
  const result = calls.setsockopt(fd, level, name, value);
  checked(`setsockopt(${option})`, result, REMEDIES[option]?.[-result]);
}

/** Sets an option that takes an `int`; a value above 2^31 is stored as the same 32 bits. */
export function setInt(fd: number, option: OptionName, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  setBytes(fd, option, bytes);
}

/** Reads at most `size` bytes. */
export function getBytes(fd: number, option: OptionName, size: number): Buffer {
  const [level, name] = OPTION[option];
  const value = Buffer.alloc(size);
  const length = calls.getsockopt(fd, level, name, value);
  return value.subarray(0, checked(`getsockopt(${option})`, length, REMEDIES[option]?.[-length]));
}

/** Reads a 32-bit option as an unsigned number. */
export function getUint(fd: number, option: OptionName): number {
  return getBytes(fd, option, 4).readUInt32LE();
}

/** 0 or the errno: what a connect() that failed means is for the caller. */
export function connect(fd: number, sockaddr: Uint8Array): number {
  return Math.abs(calls.tcpConnect(fd, sockaddr));
}

/** connect(AF_UNSPEC). Leaves ECONNRESET in SO_ERROR where a connection had begun. */
export function disconnect(fd: number): void {
  checked('connect(AF_UNSPEC)', calls.disconnect(fd));
}

export function bind(fd: number, sockaddr: Uint8Array): void {
  checked('bind', calls.bind(fd, sockaddr));
}

/** The bytes of a `struct sockaddr_in` or `sockaddr_in6`. */
export function getsockname(fd: number): Buffer {
  const address = Buffer.alloc(128);
  return address.subarray(0, checked('getsockname', calls.getsockname(fd, address)));
}

/** The same for the other end; undefined on a socket that is not connected (any more). */
export function getpeername(fd: number): Buffer | undefined {
  const address = Buffer.alloc(128);
  const length = calls.getpeername(fd, address);
  return length === -ENOTCONN ? undefined : address.subarray(0, checked('getpeername', length));
}

const ENOTCONN = 107;

/** What kind of filter (SO_ATTACH_FILTER, SO_ATTACH_BPF) is on the socket. Whose it is the kernel doesn't say. */
export function socketFilter(fd: number): 'none' | 'classic' | 'bpf' {
  const found = calls.socketFilter(fd);
  if (found === -EACCES) return 'bpf';
  return checked('getsockopt(SO_GET_FILTER)', found) === 0 ? 'none' : 'classic';
}

/** A classic socket filter that lets no packet through. */
export function dropAll(fd: number): void {
  checked('setsockopt(SO_ATTACH_FILTER)', calls.dropAll(fd));
}

export function dropsAll(fd: number): boolean {
  return checked('getsockopt(SO_GET_FILTER)', calls.dropsAll(fd)) === 1;
}

const EACCES = 13;

/** What has arrived, up to `length` bytes, without consuming it and without waiting. */
export function peek(fd: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const got = calls.peek(fd, bytes);
  return got === -EAGAIN ? bytes.subarray(0, 0) : bytes.subarray(0, checked('recv(MSG_PEEK)', got));
}

const EAGAIN = 11;

export function socket(family: number, type: number, protocol: number): number {
  return checked('socket', calls.socket(family, type, protocol));
}

export function close(fd: number): void {
  checked('close', calls.close(fd));
}

/** Sets the ISN of an unconnected socket's next connect(); 0 leaves the choice to the kernel. */
export function writeIsn(fd: number, isn: number): void {
  const result = calls.writeIsn(fd, isn | 0);
  checked('setsockopt(TCP_REPAIR)', result, REMEDIES.TCP_REPAIR?.[-result]);
}

/** RCV.NXT of a connected socket. */
export function readReceiveSequence(fd: number): number {
  const sequence = Buffer.alloc(4);
  const result = calls.readReceiveSequence(fd, sequence);
  checked('getsockopt(TCP_QUEUE_SEQ)', result, REMEDIES.TCP_REPAIR?.[-result]);
  return sequence.readUInt32LE();
}

/** What the engine lent them must stay open as long as hands are behind: native/behind.h. */
export function handsAreBehind(): boolean {
  return calls.handsBehind() > 0;
}
