import { unmapped } from '../../stealth/address.ts';
import { cookiesIn, socketsIn } from '../../sys/diagnosis.ts';
import { processors, readMapValue, readStorage, writeMapValue, writeStorage } from '../../sys/libbpf.ts';
import { getBytes } from '../../sys/libc.ts';
import { isAlive } from '../../sys/process.ts';
import { RingBuffer } from '../../sys/ringBuffer.ts';
import {
  type ConnectCounts,
  EngineError,
  type GuardedListener,
  type Guardian,
  type Protection,
  type Records,
  type SynVerdict,
} from '../engine.ts';
import { TCP_STATE } from '../socket.ts';
import { decodeMark, PHASE } from './layout.ts';
import {
  COUNTS,
  COUNTS_BYTES,
  type Counts,
  decodeCounts,
  decodeEvent,
  decodeListener,
  EVENT_BYTES,
  emptyCounts,
  encodeListener,
  FOLLOWING,
  FOLLOWING_BYTES,
  LISTENER_BYTES,
  placesOf,
} from './recordLayout.ts';

/** Descriptors of the maps that guards leave their records in, and of the marks. */
export interface RecordMaps {
  readonly armed: number;
  readonly listeners: number;
  readonly counts: number;
  readonly following: number;
  readonly events: number;
}

/** More than the ring buffer has room for. */
const MOST_EVENTS = 2048;
/** Whoever follows says so again within this time. Milliseconds. */
const FOLLOWED_FOR = 5000;
/** Who that is stands in the lower bits of the time, which then is 4 ms early at most: there is no greater PID. */
const PID_BITS = (1n << 22n) - 1n;
/** A socket that was guarded so short a time ago may not listen yet. Milliseconds. */
const YOUNG = 60_000;
/** How old what is known of the listeners may be where only a place among the counts depends on it. Milliseconds. */
const LOOK_AGAIN = 1000;
const NS_PER_MS = 1_000_000n;

function key(number: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(number);
  return bytes;
}

/** Milliseconds since the epoch, of a time of CLOCK_MONOTONIC in ns. */
function wallTime(time: bigint): number {
  return Date.now() - Number((process.hrtime.bigint() - time) / NS_PER_MS);
}

function cookieOf(fd: number): bigint {
  return getBytes(fd, 'SO_COOKIE', 8).readBigUInt64LE();
}

/** One among the counts, and who has it; 0 is nobody. */
interface Place {
  readonly at: number;
  readonly cookie: bigint;
}

/** Whether the number is one of those, which are in ascending order. */
function isAmong(sorted: BigUint64Array, wanted: bigint): boolean {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((sorted[middle] ?? 0n) < wanted) from = middle + 1;
    else to = middle;
  }
  return sorted[from] === wanted;
}

/**
 * What guards have done. Who has a listener guarded is kept with the listener, and how many SYNs it got in an array that
 * the guards find it in by its cookie; both outlive this process if the maps do. Which listeners there are the kernel
 * is asked, so that one which is gone is gone from here.
 */
export class KernelRecords implements Records {
  readonly #maps: RecordMaps;
  readonly #processors = processors();
  #ring: RingBuffer | undefined;
  /** When places among the counts were taken: whoever has one may not listen yet. */
  readonly #taken = new Float64Array(COUNTS).fill(Number.NEGATIVE_INFINITY);
  /** The listeners' cookies, in ascending order, and when that was so. Of many listeners it is little. */
  #alive: BigUint64Array = new BigUint64Array();
  #looked = 0;

  constructor(maps: RecordMaps) {
    this.#maps = maps;
  }

  enter(fd: number, guardian: Guardian, protection: Protection): void {
    writeStorage(this.#maps.listeners, fd, encodeListener(Date.now(), guardian, protection));
    const cookie = cookieOf(fd);
    const places = placesOf(cookie).map((at) => ({ at, cookie: this.#countsAt(at)?.cookie ?? 0n }));
    const own = places.find((place) => place.cookie === cookie);
    const place = own ?? this.#freeOf(places);
    if (place === undefined)
      throw new EngineError('too many listeners: the SYNs to this one are not counted, all else is as usual');
    this.#taken[place.at] = Date.now();
    if (own !== undefined) return;
    writeMapValue(this.#maps.counts, key(place.at), emptyCounts(cookie, this.#processors));
  }

  change(fd: number, protection: Protection): void {
    const bytes = readStorage(this.#maps.listeners, fd, LISTENER_BYTES);
    if (bytes === undefined) return;
    const { since, guardian } = decodeListener(bytes);
    writeStorage(this.#maps.listeners, fd, encodeListener(since, guardian, protection));
  }

  listeners(): GuardedListener[] {
    return this.#listening().map(({ cookie, address: bound, port, interface: index, inode, value }) => {
      const address = unmapped(bound);
      const counted = this.#countsOf(cookie);
      const last = counted?.last && { at: wallTime(counted.last.time), secret: counted.last.secret };
      const syns = counted && { authorised: counted.authorised, rejected: counted.rejected };
      return { cookie, address, port, interface: index, inode, ...decodeListener(value), syns, last };
    });
  }

  connects(): Map<number, ConnectCounts> {
    const counts = new Map<number, ConnectCounts>();
    for (const { uid, value } of socketsIn([TCP_STATE.synSent], this.#maps.armed)) {
      const { phase } = decodeMark(value);
      const { delayed, connecting } = counts.get(uid) ?? { delayed: 0, connecting: 0 };
      if (phase === PHASE.hold) counts.set(uid, { delayed: delayed + 1, connecting });
      if (phase === PHASE.armed) counts.set(uid, { delayed, connecting: connecting + 1 });
    }
    return counts;
  }

  follow(): number {
    const now = process.hrtime.bigint();
    this.#assertAlone(now);
    const until = now + BigInt(FOLLOWED_FOR) * NS_PER_MS;
    this.#followUntil(until - (until & PID_BITS) + BigInt(process.pid));
    this.#ring ??= new RingBuffer(this.#maps.events, EVENT_BYTES, MOST_EVENTS);
    return this.#ring.descriptor;
  }

  unfollow(): void {
    this.#followUntil(0n);
    this.close();
  }

  take(): SynVerdict[] {
    const records = this.#ring?.take() ?? [];
    return records.map((record) => {
      const { time, ...verdict } = decodeEvent(record);
      return { at: wallTime(time), ...verdict };
    });
  }

  suppressed(): number {
    const value = readMapValue(this.#maps.following, key(FOLLOWING.suppressed), FOLLOWING_BYTES);
    return Number(value?.readBigUInt64LE() ?? 0n);
  }

  /** Ends only what is this process's own. */
  close(): void {
    this.#ring?.close();
    this.#ring = undefined;
  }

  #listening() {
    return socketsIn([TCP_STATE.listen], this.#maps.listeners);
  }

  #countsAt(place: number): Counts | undefined {
    const bytes = readMapValue(this.#maps.counts, key(place), COUNTS_BYTES * this.#processors);
    return bytes && decodeCounts(bytes);
  }

  #countsOf(cookie: bigint): Counts | undefined {
    for (const place of placesOf(cookie)) {
      const counts = this.#countsAt(place);
      if (counts?.cookie === cookie) return counts;
    }
    return undefined;
  }

  /** One that nobody has, or whose socket is gone. */
  #freeOf(places: readonly Place[]): Place | undefined {
    const free = places.find(({ cookie }) => cookie === 0n);
    if (free !== undefined) return free;
    const now = Date.now();
    return places.find(({ at, cookie }) => now - (this.#taken[at] ?? 0) >= YOUNG && !this.#listens(cookie));
  }

  /** All are looked at, but not for each of many that come at once. */
  #listens(cookie: bigint): boolean {
    const now = Date.now();
    if (Math.abs(now - this.#looked) > LOOK_AGAIN) {
      this.#alive = cookiesIn([TCP_STATE.listen], this.#maps.listeners, this.#alive.length);
      this.#looked = now;
    }
    return isAmong(this.#alive, cookie);
  }

  /** Of a ring buffer's two readers none would get everything, and each could take the other's place in it back. */
  #assertAlone(now: bigint): void {
    const value = readMapValue(this.#maps.following, key(FOLLOWING.until), FOLLOWING_BYTES);
    const until = value?.readBigUInt64LE() ?? 0n;
    const reader = Number(until & PID_BITS);
    if (until < now || reader === 0 || reader === process.pid || !isAlive(reader)) return;
    throw new EngineError(
      'another control process of this network namespace tells what guards say, to whoever follows that; ask that one',
    );
  }

  #followUntil(time: bigint): void {
    const value = Buffer.alloc(FOLLOWING_BYTES);
    value.writeBigUInt64LE(time);
    writeMapValue(this.#maps.following, key(FOLLOWING.until), value);
  }
}
