import type { GuardedListener, Guardian, Protection, SynVerdict } from '../engine.ts';

/** Mirrors what native/bpf/layout.h has of the guards' records. All integers are in host byte order, as C has them. */

/** struct knock_listener. */
export const LISTENER_BYTES = 40;
const LISTENER = { since: 0, pid: 8, uid: 12, protectedLength: 16, refuseReplays: 20, program: 24 } as const;
const PROGRAM_BYTES = 16;

/** What is kept with a listener. */
export type ListenerRecord = Pick<GuardedListener, 'since' | 'guardian' | 'protectedLength' | 'allowReplay'>;

export function encodeListener(
  since: number,
  { pid, uid, program }: Guardian,
  { protectedLength, allowReplay = false }: Pick<Protection, 'protectedLength' | 'allowReplay'>,
): Buffer {
  const bytes = Buffer.alloc(LISTENER_BYTES);
  bytes.writeBigUInt64LE(BigInt(since), LISTENER.since);
  bytes.writeUInt32LE(pid, LISTENER.pid);
  bytes.writeUInt32LE(uid, LISTENER.uid);
  bytes.writeUInt32LE(protectedLength, LISTENER.protectedLength);
  bytes.writeUInt32LE(allowReplay ? 0 : 1, LISTENER.refuseReplays);
  // The last byte stays 0.
  bytes.write(program, LISTENER.program, PROGRAM_BYTES - 1);
  return bytes;
}

export function decodeListener(bytes: Buffer): ListenerRecord {
  const name = bytes.subarray(LISTENER.program, LISTENER.program + PROGRAM_BYTES);
  return {
    since: Number(bytes.readBigUInt64LE(LISTENER.since)),
    guardian: {
      pid: bytes.readUInt32LE(LISTENER.pid),
      uid: bytes.readUInt32LE(LISTENER.uid),
      program: name.subarray(0, name.indexOf(0)).toString(),
    },
    protectedLength: bytes.readUInt32LE(LISTENER.protectedLength),
    allowReplay: bytes.readUInt32LE(LISTENER.refuseReplays) === 0,
  };
}

/** KNOCK_COUNTS and KNOCK_COUNT_PLACES. */
export const COUNTS = 1024;
const COUNT_PLACES = 8;

/** Where the counts of a listener may be, the first of them that has its cookie. */
export function placesOf(cookie: bigint): number[] {
  return Array.from({ length: COUNT_PLACES }, (_, i) => Number((cookie + BigInt(i)) % BigInt(COUNTS)));
}

/** struct knock_counts, of one processor. */
export const COUNTS_BYTES = 40;
const COUNTED = { cookie: 0, authorised: 8, rejected: 16, last: 24, secret: 32 } as const;

/** What all processors counted for a listener. */
export interface Counts {
  /** 0 where nobody has the place. */
  readonly cookie: bigint;
  readonly authorised: number;
  readonly rejected: number;
  /** The newest that was authorised: CLOCK_MONOTONIC in ns, and the number of its secret. */
  readonly last: { readonly time: bigint; readonly secret: number } | undefined;
}

/** A place taken for a listener, with nothing counted yet, for so many processors. */
export function emptyCounts(cookie: bigint, processors: number): Buffer {
  const bytes = Buffer.alloc(COUNTS_BYTES * processors);
  for (let i = 0; i < processors; i++) bytes.writeBigUInt64LE(cookie, i * COUNTS_BYTES);
  return bytes;
}

export function decodeCounts(bytes: Buffer): Counts {
  let [authorised, rejected, time, secret] = [0, 0, 0n, 0];
  for (let at = 0; at < bytes.length; at += COUNTS_BYTES) {
    authorised += Number(bytes.readBigUInt64LE(at + COUNTED.authorised));
    rejected += Number(bytes.readBigUInt64LE(at + COUNTED.rejected));
    const last = bytes.readBigUInt64LE(at + COUNTED.last);
    if (last <= time) continue;
    time = last;
    secret = Number(bytes.readBigUInt64LE(at + COUNTED.secret));
  }
  const cookie = bytes.readBigUInt64LE(COUNTED.cookie);
  return { cookie, authorised, rejected, last: time === 0n ? undefined : { time, secret } };
}

/** enum knock_following. */
export const FOLLOWING = { until: 0, suppressed: 2 } as const;
export const FOLLOWING_BYTES = 8;

/** struct knock_event. */
export const EVENT_BYTES = 56;
const EVENT = {
  ...{ time: 0, cookie: 8, source: 16, destination: 32, sourcePort: 48, destinationPort: 50 },
  ...{ verdict: 52, secret: 53 },
} as const;
/** enum knock_verdict. */
const VERDICTS: readonly SynVerdict['verdict'][] = ['rejected', 'authorised', 'replayed'];

/** The time is of CLOCK_MONOTONIC, in ns. */
export interface EventRecord extends Omit<SynVerdict, 'at'> {
  readonly time: bigint;
}

/** The tuple doesn't say which family it is of: an IPv6 packet has more than four bytes of either address, but for `::`. */
function addressOf(bytes: Buffer, at: number, short: boolean): Uint8Array {
  return Uint8Array.from(bytes.subarray(at, at + (short ? 4 : 16)));
}

export function decodeEvent(bytes: Buffer): EventRecord {
  const tails = [EVENT.source, EVENT.destination].map((at) => bytes.subarray(at + 4, at + 16));
  const short = tails.every((tail) => tail.every((byte) => byte === 0));
  return {
    time: bytes.readBigUInt64LE(EVENT.time),
    cookie: bytes.readBigUInt64LE(EVENT.cookie),
    source: {
      address: addressOf(bytes, EVENT.source, short),
      port: bytes.readUInt16BE(EVENT.sourcePort),
    },
    destination: {
      address: addressOf(bytes, EVENT.destination, short),
      port: bytes.readUInt16BE(EVENT.destinationPort),
    },
    verdict: VERDICTS[bytes.readUInt8(EVENT.verdict)] ?? 'rejected',
    secret: bytes.readUInt8(EVENT.secret),
  };
}
