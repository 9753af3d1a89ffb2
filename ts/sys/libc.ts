import { artefact } from './artefacts.ts';
import { checked } from './error.ts';
import { library } from './foreign.ts';
import { OPTION, type OptionName } from './options.ts';

export * from './options.ts';

export const LOCK_SH = 1;
export const LOCK_EX = 2;

const REMEDIES: Partial<Record<OptionName, Readonly<Record<number, string>>>> = {
  TCP_REPAIR: { 1: 'needs CAP_NET_ADMIN in this network namespace' },
};

const native = library(artefact('knockify_native.node'), {
  knk_setsockopt: ['int', ['int', 'int', 'int', 'pointer', 'int']],
  knk_getsockopt: ['int', ['int', 'int', 'int', 'pointer', 'int']],
  knk_connect: ['int', ['int', 'pointer', 'int']],
  knk_disconnect: ['int', ['int']],
  knk_bind: ['int', ['int', 'pointer', 'int']],
  knk_getsockname: ['int', ['int', 'pointer', 'int']],
  knk_getpeername: ['int', ['int', 'pointer', 'int']],
  knk_socket_filter: ['int', ['int']],
  knk_drop_all: ['int', ['int']],
  knk_drops_all: ['int', ['int']],
  knk_peek: ['int', ['int', 'pointer', 'int']],
  knk_socket: ['int', ['int', 'int', 'int']],
  knk_close: ['int', ['int']],
  knk_write_isn: ['int', ['int', 'uint32']],
  knk_read_receive_sequence: ['int', ['int', 'pointer']],
  knk_flock: ['int', ['int', 'int']],
  knk_links_open: ['int', []],
  knk_links_drain: ['int', ['int', 'pointer', 'int']],
  knk_interfaces: ['int', ['pointer', 'int']],
  knk_count_filters: ['int', ['uint32']],
});

export function setBytes(fd: number, option: OptionName, value: Uint8Array): void {
  const [level, name] = OPTION[option];
  const result = native.knk_setsockopt(fd, level, name, value, value.length);
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
  const length = native.knk_getsockopt(fd, level, name, value, size);
  return value.subarray(0, checked(`getsockopt(${option})`, length, REMEDIES[option]?.[-length]));
}

/** Reads a 32-bit option as an unsigned number. */
export function getUint(fd: number, option: OptionName): number {
  return getBytes(fd, option, 4).readUInt32LE();
}

/** 0 or the errno: what a connect() that failed means is for the caller. */
export function connect(fd: number, sockaddr: Uint8Array): number {
  return Math.abs(native.knk_connect(fd, sockaddr, sockaddr.length));
}

/** connect(AF_UNSPEC). Leaves ECONNRESET in SO_ERROR where a connection had begun. */
export function disconnect(fd: number): void {
  checked('connect(AF_UNSPEC)', native.knk_disconnect(fd));
}

export function bind(fd: number, sockaddr: Uint8Array): void {
  checked('bind', native.knk_bind(fd, sockaddr, sockaddr.length));
}

/** The bytes of a `struct sockaddr_in` or `sockaddr_in6`. */
export function getsockname(fd: number): Buffer {
  const address = Buffer.alloc(128);
  return address.subarray(0, checked('getsockname', native.knk_getsockname(fd, address, address.length)));
}

/** The same for the other end; undefined on a socket that is not connected (any more). */
export function getpeername(fd: number): Buffer | undefined {
  const address = Buffer.alloc(128);
  const length = native.knk_getpeername(fd, address, address.length);
  return length === -ENOTCONN ? undefined : address.subarray(0, checked('getpeername', length));
}

const ENOTCONN = 107;

/** What kind of filter (SO_ATTACH_FILTER, SO_ATTACH_BPF) is on the socket. Whose it is the kernel doesn't say. */
export function socketFilter(fd: number): 'none' | 'classic' | 'bpf' {
  const found = native.knk_socket_filter(fd);
  if (found === -EACCES) return 'bpf';
  return checked('getsockopt(SO_GET_FILTER)', found) === 0 ? 'none' : 'classic';
}

/** A classic socket filter that lets no packet through. */
export function dropAll(fd: number): void {
  checked('setsockopt(SO_ATTACH_FILTER)', native.knk_drop_all(fd));
}

export function dropsAll(fd: number): boolean {
  return native.knk_drops_all(fd) === 1;
}

const EACCES = 13;

/** What has arrived, up to `length` bytes, without consuming it and without waiting. */
export function peek(fd: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const got = native.knk_peek(fd, bytes, length);
  return got === -EAGAIN ? bytes.subarray(0, 0) : bytes.subarray(0, checked('recv(MSG_PEEK)', got));
}

const EAGAIN = 11;

export function socket(family: number, type: number, protocol: number): number {
  return checked('socket', native.knk_socket(family, type, protocol));
}

export function close(fd: number): void {
  checked('close', native.knk_close(fd));
}

/** Sets the ISN of an unconnected socket's next connect(); 0 leaves the choice to the kernel. */
export function writeIsn(fd: number, isn: number): void {
  const result = native.knk_write_isn(fd, isn);
  checked('setsockopt(TCP_REPAIR)', result, REMEDIES.TCP_REPAIR?.[-result]);
}

/** RCV.NXT of a connected socket. */
export function readReceiveSequence(fd: number): number {
  const sequence = Buffer.alloc(4);
  const result = native.knk_read_receive_sequence(fd, sequence);
  checked('getsockopt(TCP_QUEUE_SEQ)', result, REMEDIES.TCP_REPAIR?.[-result]);
  return sequence.readUInt32LE();
}

/** False where somebody else's lock is in the way. */
export function flock(fd: number, operation: number): boolean {
  const result = native.knk_flock(fd, operation);
  return result === -EAGAIN ? false : checked('flock', result) === 0;
}

/** An interface that appeared or changed, or one that was lost or has lost a filter. */
export interface LinkEvent {
  readonly index: number;
  readonly lost: boolean;
}

const LINK_EVENT_BYTES = 8;
const LINK_EVENTS = 512;

export function openLinks(): number {
  return checked('socket(NETLINK_ROUTE)', native.knk_links_open());
}

/** The next events in order, empty when there are none. ENOBUFS (as a `SysError`) when some were lost. */
export function drainLinks(fd: number): LinkEvent[] {
  const events = Buffer.alloc(LINK_EVENT_BYTES * LINK_EVENTS);
  const count = checked('recv(NETLINK_ROUTE)', native.knk_links_drain(fd, events, LINK_EVENTS));
  return Array.from({ length: count }, (_, i) => ({
    index: events.readUInt32LE(i * LINK_EVENT_BYTES),
    lost: events.readUInt32LE(i * LINK_EVENT_BYTES + 4) === 1,
  }));
}

/** Indices of all network interfaces of this namespace. */
export function interfaces(): number[] {
  for (let capacity = 64; ; capacity *= 4) {
    const indices = Buffer.alloc(4 * capacity);
    const count = checked('if_nameindex', native.knk_interfaces(indices, capacity));
    if (count <= capacity) return Array.from({ length: count }, (_, i) => indices.readUInt32LE(4 * i));
  }
}

/** Number of filters on both sides of an interface's clsact queueing discipline. */
export function countFilters(index: number): number {
  return checked('RTM_GETTFILTER', native.knk_count_filters(index));
}
