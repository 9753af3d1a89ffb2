import type { Destination } from '../../stealth/destination.ts';
import { NOTE_BYTES } from '../engine.ts';

/** Mirrors native/bpf/layout.h. All integers are in host byte order, as C has them. */

/** The maps' names carry KNOCK_LAYOUT. */
export const MAPS = {
  armed: 'knock_armed_1',
  notes: 'knock_notes_1',
  echoes: 'knock_echoes_1',
  syns: 'knock_syns_1',
  tokens: 'knock_tokens_1',
  secrets: 'knock_secrets_1',
  listeners: 'knock_guarded_1',
  counts: 'knock_counts_1',
  following: 'knock_follow_1',
  events: 'knock_events_1',
} as const;

/** enum knock_phase. */
export const PHASE = { free: 0, hold: 1, armed: 2, guarded: 3 } as const;
export type Phase = (typeof PHASE)[keyof typeof PHASE];

/** enum knock_refusal, by number. */
const REFUSALS: readonly (string | undefined)[] = [
  undefined,
  'the socket tried to connect while its connect was delayed',
  'its sequence number was not the token: connect() was called twice, or another program changed the socket',
  'its timestamp option did not fit the token: net.ipv4.tcp_timestamps was changed meanwhile, or the socket uses TCP MD5 signatures',
  'its timestamp offset was not the one that the token was computed with: the connection took another source port or address, or the program waited too long',
  'its headers could not be located on this interface',
  'it is encapsulated or encrypted (IPsec) before it reaches an interface where its timestamp could be pinned',
];

/** Why a SYN was held back, for the log; undefined if none was. */
export function refusalText(refused: number): string | undefined {
  if (refused === 0) return undefined;
  return `the SYN was held back: ${REFUSALS[refused] ?? `reason ${refused}`}`;
}

/** struct knock_socket: what the kernel knows of a marked socket. */
export interface Mark {
  readonly phase: Phase;
  readonly isn: number;
  /** T. */
  readonly tsval: number;
  readonly hasTimestamp: number;
  readonly realTsval: number;
  /** SYNs that left. */
  readonly seen: number;
  readonly refused: number;
  /** The application's own IP_LOCAL_PORT_RANGE, TCP_MAXSEG, TCP_WINDOW_CLAMP and TCP_QUICKACK. */
  readonly portRange: number;
  readonly maxSegment: number;
  readonly windowClamp: number;
  readonly quickAck: number;
}

export const MARK_BYTES = 44;
export const EMPTY_MARK: Mark = {
  ...{ phase: PHASE.free, isn: 0, tsval: 0, hasTimestamp: 0, realTsval: 0, seen: 0, refused: 0 },
  ...{ portRange: 0, maxSegment: 0, windowClamp: 0, quickAck: 0 },
};

/** The bytes are valid until the next call. */
export function encodeMark(mark: Mark): Buffer {
  const bytes = encoded;
  bytes.writeUInt32LE(mark.phase, 0);
  bytes.writeUInt32LE(mark.isn, 4);
  bytes.writeUInt32LE(mark.tsval, 8);
  bytes.writeUInt32LE(mark.hasTimestamp, 12);
  bytes.writeUInt32LE(mark.realTsval, 16);
  bytes.writeUInt32LE(mark.seen, 20);
  bytes.writeUInt32LE(mark.refused, 24);
  bytes.writeUInt32LE(mark.portRange, 28);
  bytes.writeUInt32LE(mark.maxSegment, 32);
  bytes.writeUInt32LE(mark.windowClamp, 36);
  bytes.writeUInt32LE(mark.quickAck, 40);
  return bytes;
}

const encoded = Buffer.alloc(MARK_BYTES);

export function decodeMark(bytes: Buffer): Mark {
  return {
    phase: bytes.readUInt32LE(0) as Phase,
    isn: bytes.readUInt32LE(4),
    tsval: bytes.readUInt32LE(8),
    hasTimestamp: bytes.readUInt32LE(12),
    realTsval: bytes.readUInt32LE(16),
    seen: bytes.readUInt32LE(20),
    refused: bytes.readUInt32LE(24),
    portRange: bytes.readUInt32LE(28),
    maxSegment: bytes.readUInt32LE(32),
    windowClamp: bytes.readUInt32LE(36),
    quickAck: bytes.readUInt32LE(40),
  };
}

/** struct knock_note. */
export const NOTE_VALUE_BYTES = 4 + NOTE_BYTES;

export function encodeNote(note: Uint8Array): Buffer {
  if (note.length > NOTE_BYTES) throw new RangeError(`a note of ${note.length} bytes; at most ${NOTE_BYTES}`);
  const bytes = Buffer.alloc(NOTE_VALUE_BYTES);
  bytes.writeUInt32LE(note.length);
  bytes.set(note, 4);
  return bytes;
}

export function decodeNote(bytes: Buffer): Uint8Array {
  return Uint8Array.from(bytes.subarray(4, 4 + Math.min(bytes.readUInt32LE(), NOTE_BYTES)));
}

const TUPLE = { size: 36, source: 0, destination: 16, ports: 32 } as const;

/** struct knock_tuple. */
function encodeTuple(source: Destination, destination: Destination): Buffer {
  const bytes = Buffer.alloc(TUPLE.size);
  bytes.set(source.address, TUPLE.source);
  bytes.set(destination.address, TUPLE.destination);
  bytes.writeUInt16BE(source.port, TUPLE.ports);
  bytes.writeUInt16BE(destination.port, TUPLE.ports + 2);
  return bytes;
}

/** knock_tuple_hash(). */
function hashOf(tuple: Buffer): number {
  let hash = 0;
  for (let at = 0; at < TUPLE.size; at += 4) {
    hash = Math.imul(hash ^ tuple.readUInt32LE(at), HASH_FACTOR);
    hash ^= hash >>> 15;
  }
  return Math.imul(hash, HASH_FACTOR) >>> 0;
}

const HASH_FACTOR = 0x9e3779b1;

/** KNOCK_WAYS, KNOCK_SYN_BITS. */
const WAYS = 8;
const SYN_BITS = 12;
/** struct knock_set, which comes before the entries, and struct knock_syn. */
const SET_BYTES = 40;
const SYN = { size: 56, isn: 8, first: 12, slot: 16, tuple: 20 } as const;
export const SYNS_BYTES = SET_BYTES + WAYS * SYN.size;

/** A SYN that carried the token, and what followed. */
export interface Syn {
  readonly isn: number;
  /** Bytes that the first segment brought; 0 as long as none came. */
  readonly first: number;
  /** Of the named secret that it was made from; 0 for the listener's own. */
  readonly slot: number;
}

/** Where the map has the SYN of a connection: its key, and how to find it in the element. */
export function placeOfSyn(
  source: Destination,
  destination: Destination,
): { key: Buffer; find: (syns: Buffer) => Syn | undefined } {
  const tuple = encodeTuple(source, destination);
  const key = Buffer.alloc(4);
  key.writeUInt32LE(hashOf(tuple) >>> (32 - SYN_BITS));
  const find = (syns: Buffer) => {
    for (let way = 0; way < WAYS; way++) {
      const at = SET_BYTES + SYN.size * way;
      if (!syns.subarray(at + SYN.tuple, at + SYN.tuple + TUPLE.size).equals(tuple)) continue;
      const field = (offset: number) => syns.readUInt32LE(at + offset);
      return { isn: field(SYN.isn), first: field(SYN.first), slot: field(SYN.slot) };
    }
    return undefined;
  };
  return { key, find };
}

/** struct knock_tokens. */
export const TOKENS_BYTES = 304;

/** Of the map `echoes`. */
export const ECHOES_BYTES = 8;

/** struct knock_named: 0 as `until` is an empty slot. */
export const NAMED_BYTES = 72;
export const NAMED = { until: 0, secret: 8 } as const;
/** KNOCK_SLOTS; slots count from 1, and at 0 `until` is the highest in use, followed by who fills them: struct knock_keeper. */
export const SLOTS = 64;
export const KEEPER = { since: 8, pid: 16, folder: 24, folderBytes: 32 } as const;
export const ALWAYS = 0xffff_ffff_ffff_ffffn;

export const GUARD_CONFIG_BYTES = 80;

/** struct knock_guard. The secret's words are little-endian in MD5 and in memory here: its bytes as they are. */
export function encodeGuardConfig(
  secret: Uint8Array | undefined,
  { integrity = false, refuseReplays = false, named = false },
): Buffer {
  const bytes = Buffer.alloc(GUARD_CONFIG_BYTES);
  bytes.set(secret ?? []);
  bytes.writeUInt32LE(secret === undefined ? 0 : 1, 64);
  bytes.writeUInt32LE(named ? 1 : 0, 68);
  bytes.writeUInt32LE(integrity ? 1 : 0, 72);
  bytes.writeUInt32LE(refuseReplays ? 1 : 0, 76);
  return bytes;
}
