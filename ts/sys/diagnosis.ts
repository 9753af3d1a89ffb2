import { artefact } from './artefacts.ts';
import { checked } from './error.ts';
import { library } from './foreign.ts';
import { AF_INET } from './options.ts';

const native = library(artefact('knockify_native.node'), {
  knk_sockets: ['int', ['uint32', 'int', 'pointer', 'int']],
  knk_socket_cookies: ['int', ['uint32', 'int', 'pointer', 'int']],
});

/** A TCP socket of this network namespace that a socket-storage map has a value of. */
export interface SeenSocket {
  readonly cookie: bigint;
  readonly uid: number;
  /** Index of the interface that it is bound to; 0 for none. */
  readonly interface: number;
  /** As /proc/PID/fd names it. */
  readonly inode: number;
  /** Its own address, 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
  /** The map's value. */
  readonly value: Buffer;
}

/** struct knk_seen of native/diagnosis.h. */
const SEEN = {
  ...{ size: 96, cookie: 0, uid: 8, interface: 12, inode: 16, port: 20, family: 22, address: 24 },
  ...{ stored: 40, storage: 44 },
} as const;
const COOKIE_BYTES = 8;
/** For how many there is room at first, or more than are expected. */
const ROOM = 64;
const EOPNOTSUPP = 95;
const ENOENT = 2;
const WITHOUT_DIAGNOSIS = "the kernel's module tcp_diag is missing; load or install it";
const REMEDIES: Readonly<Record<number, string>> = {
  [ENOENT]: WITHOUT_DIAGNOSIS,
  [EOPNOTSUPP]: WITHOUT_DIAGNOSIS,
};

function decode(bytes: Buffer): SeenSocket {
  const length = bytes.readUInt8(SEEN.family) === AF_INET ? 4 : 16;
  return {
    cookie: bytes.readBigUInt64LE(SEEN.cookie),
    uid: bytes.readUInt32LE(SEEN.uid),
    interface: bytes.readUInt32LE(SEEN.interface),
    inode: bytes.readUInt32LE(SEEN.inode),
    address: Uint8Array.from(bytes.subarray(SEEN.address, SEEN.address + length)),
    port: bytes.readUInt16LE(SEEN.port),
    value: Buffer.from(bytes.subarray(SEEN.storage, SEEN.storage + bytes.readUInt32LE(SEEN.stored))),
  };
}

/** The answers of one of the calls, for as many as there are, each of so many bytes; there may be about `expected` of them. */
function ask(
  call: keyof typeof native,
  states: readonly number[],
  map: number,
  size: number,
  expected = ROOM,
): Buffer {
  const set = states.reduce((bits, state) => bits | (1 << state), 0);
  for (let room = expected; ; ) {
    const bytes = Buffer.alloc(room * size);
    const result = native[call](set, map, bytes, room);
    const count = checked('NETLINK_SOCK_DIAG', result, REMEDIES[-result]);
    if (count <= room) return bytes.subarray(0, count * size);
    room = count + ROOM;
  }
}

/** The sockets in one of the states (numbers of include/net/tcp_states.h) that the map knows something of. */
export function socketsIn(states: readonly number[], map: number): SeenSocket[] {
  const bytes = ask('knk_sockets', states, map, SEEN.size);
  return Array.from({ length: bytes.length / SEEN.size }, (_, i) =>
    decode(bytes.subarray(i * SEEN.size, (i + 1) * SEEN.size)),
  );
}

/** Of the same sockets the cookies, in ascending order; there may be about `expected` of them. */
export function cookiesIn(states: readonly number[], map: number, expected: number): BigUint64Array {
  const bytes = ask('knk_socket_cookies', states, map, COOKIE_BYTES, expected + ROOM);
  const { buffer, byteOffset, length } = bytes;
  return new BigUint64Array(buffer, byteOffset, length / COOKIE_BYTES).sort();
}
