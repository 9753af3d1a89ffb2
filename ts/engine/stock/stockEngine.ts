import {
  type BpfObject,
  bindProgramMap,
  deleteStorage,
  loadBpf,
  readStorage,
  writeStorage,
} from '../../sys/libbpf.ts';
import { close, getUint, writeIsn } from '../../sys/libc.ts';
import { deferConnect, forbidDeferral, readForgotten, undoDeferral } from '../deferral.ts';
import {
  type ArmedToken,
  type Engine,
  EngineError,
  type Inspection,
  type Memory,
  type Peer,
  type Protection,
  type SocketPhase,
} from '../engine.ts';
import { assertTcpSocket, ownNamespace, TCP_STATE, tcpState } from '../socket.ts';
import { Sysctls } from '../sysctls.ts';
import { armDeferred } from './arming.ts';
import { FirstSegments } from './firstSegments.ts';
import { Guards } from './guards.ts';
import { inspect } from './inspection.ts';
import { decodeNote, encodeNote, MAPS, type Mark, NOTE_VALUE_BYTES, PHASE, refusalText } from './layout.ts';
import { Links } from './links.ts';
import { Marks } from './marks.ts';
import { portRange, restorePortRange } from './port.ts';
import { bequeath, inherit } from './takeover.ts';

/** Of a socket that is delayed or armed, or was when it last connected. */
function isClient(mark: Mark): boolean {
  return mark.phase === PHASE.hold || mark.phase === PHASE.armed;
}

/**
 * TCP Stealth on an unpatched kernel: the ISN by TCP_REPAIR, the timestamp by a deferred connect and BPF filters
 * on every interface, the listener's guard by a BPF program in its reuseport group. Works in the network namespace
 * that its process is in when it is made. Needs CAP_NET_ADMIN and CAP_BPF.
 */
export class StockEngine implements Engine {
  readonly name = 'stock';
  readonly inspectsFirstSegment = false;
  readonly changes: number;
  readonly #namespace: bigint;
  readonly #sysctls: Sysctls;
  readonly #programs: BpfObject;
  readonly #links: Links;
  readonly #marks: Marks;
  readonly #notes: number;
  readonly #firstSegments: FirstSegments;
  readonly #guards: Guards;

  /** Loads the programs and covers all interfaces, in place of a predecessor's. Throws SysError or EngineError. */
  constructor(memory?: Memory) {
    this.#namespace = ownNamespace();
    this.#sysctls = new Sysctls();
    const { generation, maps } = inherit(memory);
    try {
      this.#programs = loadBpf('armed.bpf.o', { maps });
    } finally {
      for (const fd of maps.values()) close(fd);
    }
    this.#marks = new Marks(this.#programs.map(MAPS.armed));
    this.#notes = this.#programs.map(MAPS.notes);
    const syns = this.#programs.map(MAPS.syns);
    this.#firstSegments = new FirstSegments(syns);
    const tokens = this.#programs.map(MAPS.tokens);
    this.#guards = new Guards({ syns, tokens }, this.#firstSegments);
    const egress = this.#programs.program('knock_egress');
    // The filters use neither; the tie keeps them for the next control process to find.
    for (const map of [this.#notes, syns, tokens]) bindProgramMap(egress, map);
    this.#links = new Links({ egress, ingress: this.#programs.program('knock_ingress') }, generation);
    this.changes = this.#links.events;
    bequeath(
      generation,
      Object.values(MAPS).map((name) => this.#programs.map(name)),
      memory,
    );
  }

  /** A socket that is delayed or armed may send by an interface that was not there when it was: cover that now. */
  follow(): void {
    this.#links.follow();
  }

  phase(fd: number): SocketPhase {
    assertTcpSocket(fd, this.#namespace);
    const { phase, seen } = this.#marks.read(fd);
    switch (tcpState(fd)) {
      case TCP_STATE.close:
        // Once its SYN has left, the token is used up: the connection failed, and the next one needs another.
        return phase === PHASE.armed && seen === 0 ? 'armed' : 'fresh';
      case TCP_STATE.synSent:
        return phase === PHASE.hold ? 'deferred' : 'foreign';
      case TCP_STATE.listen:
        return phase === PHASE.guarded ? 'guarded' : 'foreign';
      default:
        return 'foreign';
    }
  }

  defer(fd: number, peer: Peer): void {
    this.#expect(fd, 'fresh');
    this.#links.follow();
    this.#orRelease(fd, () => this.#defer(fd, peer));
  }

  arm(fd: number, peer: Peer, secret: Uint8Array, payload?: Uint8Array): ArmedToken {
    const phase = this.#expect(fd, 'fresh', 'deferred');
    this.#links.follow();
    return this.#orRelease(fd, () => {
      if (phase === 'fresh') this.#defer(fd, peer);
      const timestamps = this.#sysctls.read('timestamps') !== 0;
      return armDeferred(fd, { peer, secret, payload, timestamps }, this.#marks.read(fd), this.#marks);
    });
  }

  settle(fd: number): string | undefined {
    const mark = this.#marks.read(fd);
    if (mark.phase !== PHASE.armed) return undefined;
    restorePortRange(fd, mark.portRange);
    if (mark.seen === 0 && mark.refused === 0 && tcpState(fd) === TCP_STATE.established) {
      return 'the SYN left by an interface without our filter, so with a timestamp that does not fit the token';
    }
    return refusalText(mark.refused);
  }

  /** Without effect on a fresh socket that was never marked, and on one that is connected or listens. */
  release(fd: number): void {
    const mark = this.#marks.read(fd);
    if (!isClient(mark)) return;
    const state = tcpState(fd);
    if (state === TCP_STATE.synSent || state === TCP_STATE.close) this.#release(fd, mark, state);
  }

  guard(fd: number, protection: Protection, previous = protection): void {
    this.#expect(fd, 'fresh', 'guarded');
    if (tcpState(fd) === TCP_STATE.listen) {
      this.#guards.replace(fd, protection, previous);
      return;
    }
    this.#guards.attach(fd, protection);
    this.#marks.write(fd, { phase: PHASE.guarded });
  }

  inspectAccepted(fd: number, protection: Protection): Inspection {
    assertTcpSocket(fd, this.#namespace);
    return inspect(fd, protection, this.#firstSegments);
  }

  readNote(fd: number): Uint8Array | undefined {
    const bytes = readStorage(this.#notes, fd, NOTE_VALUE_BYTES);
    return bytes === undefined ? undefined : decodeNote(bytes);
  }

  writeNote(fd: number, note: Uint8Array): void {
    writeStorage(this.#notes, fd, encodeNote(note));
  }

  dropNote(fd: number): void {
    deleteStorage(this.#notes, fd);
  }

  /**
   * Leaves the filters where they are, unless told to `purge`: sockets may still be armed or delayed, which only
   * the kernel knows, and without the filters their next SYN would be a plain one. An unused filter costs a branch a
   * packet, and the next engine takes it over. `purge` is for whoever knows that all such sockets are gone; it
   * spares the filters too while another engine works in this network namespace. Guarded listeners keep their guards.
   */
  close({ purge = false }: { readonly purge?: boolean } = {}): void {
    this.#links.close(purge);
    this.#sysctls.close();
    this.#guards.close();
    this.#firstSegments.close();
    this.#programs.close();
  }

  #expect(fd: number, ...wanted: readonly SocketPhase[]): SocketPhase {
    const phase = this.phase(fd);
    // A token that never left may be exchanged for another.
    if (phase === 'armed' && wanted.includes('fresh') && tcpState(fd) === TCP_STATE.close) return 'fresh';
    if (wanted.includes(phase)) return phase;
    throw new EngineError(`the socket is ${phase}; ${wanted.join(' or ')} was expected`);
  }

  #orRelease<T>(fd: number, action: () => T): T {
    try {
      return action();
    } catch (error) {
      this.release(fd);
      throw error;
    }
  }

  #defer(fd: number, peer: Peer): void {
    const stale = this.#marks.read(fd);
    if (isClient(stale)) restorePortRange(fd, stale.portRange);
    // From here on no SYN of this socket leaves, whatever happens to this process.
    this.#marks.write(fd, { ...readForgotten(fd), portRange: portRange(fd), phase: PHASE.hold });
    // Whoever was killed while arming may have left it so; the kernel then picks no timestamp offset.
    if (getUint(fd, 'TCP_REPAIR') !== 0) writeIsn(fd, 0);
    deferConnect(fd, peer, this.#sysctls.read('blackholeTimeout'));
  }

  #release(fd: number, mark: Mark, state: number): void {
    this.#marks.write(fd, { ...mark, phase: PHASE.hold });
    if (state === TCP_STATE.synSent) undoDeferral(fd, mark);
    else forbidDeferral(fd);
    // Also ends repair mode. 0: the kernel chooses the next connection's ISN itself.
    writeIsn(fd, 0);
    if (getUint(fd, 'TCP_REPAIR') !== 0) throw new EngineError('the socket is still in repair mode');
    restorePortRange(fd, mark.portRange);
    this.#marks.erase(fd);
  }
}
