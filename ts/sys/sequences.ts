import { addon } from './addon.ts';
import { failure } from './error.ts';

/**
 * The system calls of a stealth connect, many in one go: native/sequences.h tells what each sequence does, and its
 * structs are mirrored here. By way of the addon: one call of the FFI takes as long as a whole sequence.
 *
 * A mark is the bytes of a `struct knock_socket`, which means something to the engine.
 */

type Sequence = (fd: number, frame: Buffer) => number;

interface Native {
  readonly look: Sequence;
  readonly remember: Sequence;
  readonly defer: Sequence;
  readonly undoDeferral: Sequence;
  readonly forbidDeferral: Sequence;
  readonly stopListening: Sequence;
  readonly prepare: Sequence;
  readonly arm: Sequence;
  readonly takeBack: Sequence;
  readonly settle: Sequence;
  readonly pinPort: Sequence;
  readonly bindPort: Sequence;
}

const native = addon as Native;

const NAME_BYTES = 40;
/** sizeof(struct knock_socket). */
const MARK_BYTES = 44;
const EPERM = 1;

/** Hands a sequence's result on; a negative one is a `SysError` that names the call that failed. */
function done(result: number, frame: Buffer): number {
  if (result >= 0) return result;
  const operation = frame.toString('latin1', 0, Math.min(NAME_BYTES, frame.indexOf(0)));
  const unprivileged = result === -EPERM && operation.includes('TCP_REPAIR');
  throw failure(
    operation,
    result,
    unprivileged ? 'needs CAP_NET_ADMIN in this network namespace' : undefined,
  );
}

/** What the kernel knows of a socket. */
export interface Sight {
  /** -1 for what is no socket. */
  readonly domain: number;
  readonly protocol: number;
  readonly type: number;
  /** tcpi_state; 0, and nothing true of what follows, for all but plain TCP sockets. */
  readonly state: number;
  /** SO_NETNS_COOKIE. */
  readonly network: bigint;
  /** All zero where there is none. Valid until the next call. */
  readonly mark: Buffer;
  readonly noted: boolean;
}

const sight = Buffer.alloc(120);
const SIGHT = {
  ...{ marks: 40, notes: 44, domain: 48, protocol: 52, type: 56, state: 60, network: 64 },
  ...{ mark: 72, noted: 116 },
} as const;
const sightMark = sight.subarray(SIGHT.mark, SIGHT.mark + MARK_BYTES);

/** `marks` and `notes` are descriptors of socket-storage maps. */
export function look(fd: number, marks: number, notes: number): Sight {
  sight.fill(0);
  sight.writeInt32LE(marks, SIGHT.marks);
  sight.writeInt32LE(notes, SIGHT.notes);
  done(native.look(fd, sight), sight);
  return {
    domain: sight.readInt32LE(SIGHT.domain),
    protocol: sight.readInt32LE(SIGHT.protocol),
    type: sight.readInt32LE(SIGHT.type),
    state: sight.readUInt32LE(SIGHT.state),
    network: sight.readBigUInt64LE(SIGHT.network),
    mark: sightMark,
    noted: sight.readUInt32LE(SIGHT.noted) !== 0,
  };
}

/** What a disconnect makes the socket forget though the application set it. */
export interface Forgotten {
  readonly maxSegment: number;
  readonly windowClamp: number;
  readonly quickAck: number;
}

const deferral = Buffer.alloc(84);
const DEFERRAL = { maxSegment: 40, windowClamp: 44, quickAck: 48, peerSize: 52, peer: 56 } as const;

/** For `undoDeferral` later. */
export function readForgotten(fd: number): Forgotten {
  done(native.remember(fd, deferral), deferral);
  return {
    maxSegment: deferral.readUInt32LE(DEFERRAL.maxSegment),
    windowClamp: deferral.readUInt32LE(DEFERRAL.windowClamp),
    quickAck: deferral.readUInt32LE(DEFERRAL.quickAck),
  };
}

/** False where the kernel did not delay the connect. */
export function defer(fd: number, sockaddr: Uint8Array): boolean {
  deferral.writeUInt32LE(sockaddr.length, DEFERRAL.peerSize);
  deferral.set(sockaddr, DEFERRAL.peer);
  return done(native.defer(fd, deferral), deferral) === 0;
}

/** Ends a deferral, or the attempt of a socket that is connecting. Leaves no error and no forgotten option behind. */
export function undoDeferral(fd: number, { maxSegment, windowClamp, quickAck }: Forgotten): void {
  deferral.writeUInt32LE(maxSegment, DEFERRAL.maxSegment);
  deferral.writeUInt32LE(windowClamp, DEFERRAL.windowClamp);
  deferral.writeUInt32LE(quickAck, DEFERRAL.quickAck);
  done(native.undoDeferral(fd, deferral), deferral);
}

/** Clears the options of a deferral that is over. */
export function forbidDeferral(fd: number): void {
  done(native.forbidDeferral(fd, deferral), deferral);
}

/** Takes a listener back to where it was before listen(2), still bound. Who is in its queue is reset. */
export function stopListening(fd: number): void {
  done(native.stopListening(fd, deferral), deferral);
}

/** What a preparation reads besides the socket, by descriptor. */
export interface Sources {
  /** Socket-storage map. */
  readonly marks: number;
  /** Netlink socket. */
  readonly links: number;
  /** Files of sysctls. */
  readonly timestamps: number;
  readonly blackholeTimeout: number;
}

/** What came of a preparation. */
export type Preparation =
  /** Deferred, and `mark` (valid until the next preparation) is on the socket. */
  | {
      readonly outcome: 'ready';
      readonly mark: Buffer;
      /** It had been deferred before. */
      readonly again: boolean;
      /** TSval that a SYN would carry now, if SYNs carry one: net.ipv4.tcp_timestamps. */
      readonly tsval: number;
      readonly timestamps: boolean;
      /** `struct sockaddr` of the socket's own end; valid until the next preparation. */
      readonly source: Buffer;
    }
  /** Neither unconnected nor deferred; nothing was done. */
  | { readonly outcome: 'unfit'; readonly state: number; readonly mark: Buffer }
  /** Something is to be read from `links` first; nothing was done. */
  | { readonly outcome: 'links changed' }
  /** The kernel may stop delaying connects for this long, in seconds. The socket is on hold. */
  | { readonly outcome: 'blackhole'; readonly timeout: number }
  /** The socket is on hold. */
  | { readonly outcome: 'not delayed' };

const SOCKADDR_BYTES = 28;
const CLOSE = 7;
const preparation = Buffer.alloc(180);
const PREPARATION = {
  ...{ marks: 40, links: 44, timestampsFile: 48, blackholeFile: 52, peerSize: 56, peer: 60, state: 88 },
  ...{ held: 92, tsval: 136, timestamps: 140, blackhole: 144, sourceSize: 148, source: 152 },
} as const;
const held = preparation.subarray(PREPARATION.held, PREPARATION.held + MARK_BYTES);

/** Puts an unconnected socket on hold, defers its connect and learns what the SYN will carry; of a deferred one, the last. */
export function prepare(fd: number, sockaddr: Uint8Array, sources: Sources): Preparation {
  preparation.writeInt32LE(sources.marks, PREPARATION.marks);
  preparation.writeInt32LE(sources.links, PREPARATION.links);
  preparation.writeInt32LE(sources.timestamps, PREPARATION.timestampsFile);
  preparation.writeInt32LE(sources.blackholeTimeout, PREPARATION.blackholeFile);
  if (sockaddr.length > SOCKADDR_BYTES) throw new RangeError(`a socket address of ${sockaddr.length} bytes`);
  preparation.writeUInt32LE(sockaddr.length, PREPARATION.peerSize);
  preparation.set(sockaddr, PREPARATION.peer);
  const result = done(native.prepare(fd, preparation), preparation);
  const state = preparation.readUInt32LE(PREPARATION.state);
  if (result === 1) return { outcome: 'unfit', state, mark: held };
  if (result === 2) return { outcome: 'links changed' };
  if (result === 3) return { outcome: 'blackhole', timeout: preparation.readUInt32LE(PREPARATION.blackhole) };
  if (result === 4) return { outcome: 'not delayed' };
  const sourceSize = preparation.readUInt32LE(PREPARATION.sourceSize);
  return {
    outcome: 'ready',
    mark: held,
    again: state !== CLOSE,
    tsval: preparation.readUInt32LE(PREPARATION.tsval),
    timestamps: preparation.readUInt32LE(PREPARATION.timestamps) !== 0,
    source: preparation.subarray(PREPARATION.source, PREPARATION.source + sourceSize),
  };
}

const arming = Buffer.alloc(120);
const ARMING = { marks: 40, sourceSize: 44, source: 48, mark: 76 } as const;

function writeSource(source: Uint8Array): void {
  if (source.length > SOCKADDR_BYTES) throw new RangeError(`a socket address of ${source.length} bytes`);
  arming.writeUInt32LE(source.length, ARMING.sourceSize);
  arming.set(source, ARMING.source);
}

/**
 * Ends the deferral, and makes the next connect() start with the mark's ISN from the port of `source`. The mark is
 * written last.
 */
export function arm(fd: number, marks: number, mark: Uint8Array, source: Uint8Array): void {
  arming.writeInt32LE(marks, ARMING.marks);
  writeSource(source);
  arming.set(mark, ARMING.mark);
  done(native.arm(fd, arming), arming);
}

const taking = Buffer.alloc(44);
const TAKING = { marks: 40 } as const;

/**
 * Takes a socket that was deferred or armed back to fresh, or resets its connection if the SYN left without its token. False
 * where the socket is in repair mode all the same, and on hold.
 */
export function takeBack(fd: number, marks: number): boolean {
  taking.writeInt32LE(marks, TAKING.marks);
  return done(native.takeBack(fd, taking), taking) === 0;
}

/**
 * Makes the next connect() of an unbound socket take the port of `source`: the timestamp offset may depend on it
 * (6.18.17 and later). A socket that the application bound keeps its port and ignores this; which of the
 * two it is, nothing tells: getsockname() goes on naming the port of the last connection.
 */
export function pinPort(fd: number, source: Uint8Array): void {
  writeSource(source);
  done(native.pinPort(fd, arming), arming);
}

/**
 * The same by an ordinary bind(), for kernels without IP_LOCAL_PORT_RANGE (before 6.3). The socket stays bound after a
 * failed connect, which an application can notice, and shares the port with nobody.
 */
export function bindPort(fd: number, source: Uint8Array): void {
  writeSource(source);
  done(native.bindPort(fd, arming), arming);
}

const settlement = Buffer.alloc(96);
const SETTLEMENT = { marks: 40, isn: 44, state: 48, mark: 52 } as const;
const settledMark = settlement.subarray(SETTLEMENT.mark);

/** What settling found. The mark is valid until the next call. */
export interface Settled {
  /** 0 unless the socket is armed so, and no filter has seen its SYN. */
  readonly state: number;
  readonly mark: Buffer;
}

/** Takes the pinned port back, if the socket is armed, and with this very ISN (0: with any). */
export function settle(fd: number, marks: number, isn: number): Settled {
  settlement.writeInt32LE(marks, SETTLEMENT.marks);
  settlement.writeUInt32LE(isn, SETTLEMENT.isn);
  settlement.writeUInt32LE(0, SETTLEMENT.state);
  done(native.settle(fd, settlement), settlement);
  return { state: settlement.readUInt32LE(SETTLEMENT.state), mark: settledMark };
}
