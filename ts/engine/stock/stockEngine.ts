import {
  type BpfObject,
  bindProgramMap,
  deleteStorage,
  loadBpf,
  readStorage,
  writeStorage,
} from '../../sys/libbpf.ts';
import { close, handsAreBehind } from '../../sys/libc.ts';
import { Prompt } from '../../sys/prompt.ts';
import {
  arm,
  look,
  type Preparation,
  prepare,
  type Sources,
  settle,
  stopListening,
  takeBack,
} from '../../sys/sequences.ts';
import { blackholeError, explained, notDelayedError } from '../deferral.ts';
import {
  type ArmedToken,
  type Engine,
  EngineError,
  type Inspection,
  type Memory,
  type Peer,
  type Protection,
  type SecretSlots,
  type Sight,
  type SocketPhase,
} from '../engine.ts';
import { assertMaySetIsn, assertTcpSocket, ownNamespace, TCP_STATE } from '../socket.ts';
import { Sysctls } from '../sysctls.ts';
import { currentToken } from './arming.ts';
import { FirstSegments } from './firstSegments.ts';
import { Guards } from './guards.ts';
import { inspect } from './inspection.ts';
import {
  decodeMark,
  decodeNote,
  encodeMark,
  encodeNote,
  MAPS,
  type Mark,
  NOTE_VALUE_BYTES,
  PHASE,
  refusalText,
} from './layout.ts';
import { Links } from './links.ts';
import { Marks } from './marks.ts';
import { KernelRecords } from './records.ts';
import { KernelSlots } from './secretSlots.ts';
import { bequeath, inherit } from './takeover.ts';
import { type Ways, waysHere } from './ways.ts';

/** What the guards use, and whoever comes next goes on with. */
const SHARED = ['syns', 'tokens', 'secrets', 'counts', 'following', 'events'] as const;

type Ready = Extract<Preparation, { outcome: 'ready' }>;

/** Of a socket that is delayed or armed, or was when it last connected. */
function isClient(mark: Mark): boolean {
  return mark.phase === PHASE.hold || mark.phase === PHASE.armed;
}

/** Connected, though no filter saw its SYN. */
function slippedBy({ phase, seen, refused }: Mark, state: number): boolean {
  return phase === PHASE.armed && seen === 0 && refused === 0 && state === TCP_STATE.established;
}

function phaseOf(state: number, { phase, seen }: Mark): SocketPhase {
  switch (state) {
    case TCP_STATE.close:
      // Once its SYN has left, the token is used up: the connection failed, and the next one needs another.
      return phase === PHASE.armed && seen === 0 ? 'armed' : 'fresh';
    case TCP_STATE.synSent:
      return phase === PHASE.hold ? 'deferred' : 'foreign';
    case TCP_STATE.listen:
      return phase === PHASE.guarded ? 'guarded' : 'listening';
    default:
      return 'foreign';
  }
}

/** Throws where the socket is on hold for nothing. */
function deferred(prepared: Preparation): Exclude<Preparation, { outcome: 'blackhole' | 'not delayed' }> {
  if (prepared.outcome === 'blackhole') throw blackholeError(prepared.timeout);
  if (prepared.outcome === 'not delayed') throw notDelayedError();
  return prepared;
}

function unexpected(phase: SocketPhase, wanted: readonly SocketPhase[]): EngineError {
  return new EngineError(`the socket is ${phase}; ${wanted.join(' or ')} was expected`);
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
  readonly prompt: Prompt;
  readonly secrets: SecretSlots;
  readonly records: KernelRecords;
  readonly #namespace: bigint;
  readonly #sysctls: Sysctls;
  readonly #programs: BpfObject;
  readonly #links: Links;
  readonly #marks: Marks;
  readonly #notes: number;
  readonly #firstSegments: FirstSegments;
  readonly #guards: Guards;
  readonly #sources: Sources;

  /** Loads the programs and covers all interfaces, in place of a predecessor's. Throws SysError or EngineError. */
  constructor(memory?: Memory, useWays?: Ways) {
    // The kernel asks it of who hangs filters by tc, and not of who does by tcx.
    assertMaySetIsn();
    const ways = useWays ?? waysHere();
    this.#namespace = ownNamespace();
    this.#sysctls = new Sysctls();
    const inheritance = inherit(memory, ways);
    const { generation, maps } = inheritance;
    try {
      this.#programs = loadBpf('armed.bpf.o', { maps });
    } finally {
      for (const fd of maps.values()) close(fd);
    }
    this.#marks = new Marks(this.#programs.map(MAPS.armed));
    this.#notes = this.#programs.map(MAPS.notes);
    const map = (name: keyof typeof MAPS) => this.#programs.map(MAPS[name]);
    this.#firstSegments = new FirstSegments(map('syns'));
    const shared = SHARED.map((name) => [MAPS[name], map(name)] as const);
    this.#guards = new Guards(new Map(shared), this.#firstSegments);
    this.secrets = new KernelSlots(map('secrets'));
    this.records = new KernelRecords({
      ...{ armed: this.#marks.map, listeners: map('listeners'), counts: map('counts') },
      ...{ following: map('following'), events: map('events') },
    });
    const [ingress, egress] = [
      this.#programs.program('knock_ingress'),
      this.#programs.program('knock_egress'),
    ];
    // The filters use none of them; the tie keeps them for the next control process to find.
    for (const name of ['notes', 'listeners', ...SHARED] as const) bindProgramMap(egress, map(name));
    this.#links = new Links({ ingress, egress }, inheritance, ways);
    this.changes = this.#links.events;
    this.#sources = {
      marks: this.#marks.map,
      links: this.changes,
      timestamps: this.#sysctls.file('timestamps'),
      blackholeTimeout: this.#sysctls.file('blackholeTimeout'),
    };
    this.prompt = new Prompt({ ...this.#sources, notes: this.#notes, network: this.#namespace });
    bequeath(
      generation,
      Object.values(MAPS).map((name) => this.#programs.map(name)),
      { ingress, egress },
      memory,
    );
  }

  /**
   * A socket that is delayed or armed may send by an interface that was not there when it was: cover that now. As long as that
   * can't be done, nothing is armed.
   */
  follow(all = false): void {
    try {
      this.#links.follow(all);
    } catch (error) {
      // Or connects would be answered that never come by here.
      this.prompt.forget();
      throw error;
    }
  }

  look(fd: number): Sight {
    const sight = look(fd, this.#marks.map, this.#notes);
    assertTcpSocket(sight, this.#namespace);
    const mark = decodeMark(sight.mark);
    return { phase: phaseOf(sight.state, mark), marked: isClient(mark), noted: sight.noted };
  }

  phase(fd: number): SocketPhase {
    return this.look(fd).phase;
  }

  defer(fd: number, peer: Peer): void {
    const { again } = this.#prepare(fd, peer, ['fresh']);
    if (again) throw unexpected('deferred', ['fresh']);
  }

  arm(fd: number, peer: Peer, secret: Uint8Array, payload?: Uint8Array): ArmedToken {
    const { mark, source, tsval, timestamps } = this.#prepare(fd, peer, ['fresh', 'deferred']);
    const held = decodeMark(mark);
    return this.#orRelease(fd, () => {
      const token = currentToken(fd, { peer, secret, payload, source, tsval, timestamps });
      const armed: Mark = {
        ...held,
        phase: PHASE.armed,
        isn: token.isn,
        tsval: token.tsval,
        hasTimestamp: timestamps ? 1 : 0,
        realTsval: token.tsval,
        seen: 0,
        refused: 0,
      };
      arm(fd, this.#marks.map, encodeMark(armed), source);
      return token;
    });
  }

  settle(fd: number, isn?: number): string | undefined {
    const { state, mark: bytes } = settle(fd, this.#marks.map, isn ?? 0);
    const mark = decodeMark(bytes);
    if (mark.phase !== PHASE.armed || (isn !== undefined && mark.isn !== isn)) return undefined;
    if (slippedBy(mark, state)) {
      this.follow(true);
      return 'the SYN left by an interface without our filter, so with a timestamp that does not fit the token';
    }
    return refusalText(mark.refused);
  }

  /** Without effect on a fresh socket that was never marked, and on one that is connected as it should be or listens. */
  release(fd: number): void {
    if (!takeBack(fd, this.#marks.map)) throw new EngineError('the socket is still in repair mode');
  }

  guard(fd: number, protection: Protection, previous = protection): void {
    const phase = this.#expect(fd, 'fresh', 'guarded', 'listening');
    if (phase === 'guarded') {
      this.#guards.replace(fd, protection, previous);
      return;
    }
    // Prepared first: should that fail, the listener stays as it was.
    this.#guards.prepare(protection);
    // The kernel puts no reuseport program on a socket that listens and is in no group.
    if (phase === 'listening') stopListening(fd);
    this.#guards.attach(fd, protection);
    this.#marks.write(fd, { phase: PHASE.guarded });
  }

  inspectAccepted(fd: number, protection: Protection): Inspection {
    this.look(fd);
    return inspect(fd, protection, { firstSegments: this.#firstSegments, slots: this.secrets });
  }

  readNote(fd: number): Uint8Array | undefined {
    const bytes = readStorage(this.#notes, fd, NOTE_VALUE_BYTES);
    if (bytes === undefined) return undefined;
    const note = decodeNote(bytes);
    // A secret may be in it.
    bytes.fill(0);
    return note;
  }

  writeNote(fd: number, note: Uint8Array): void {
    const value = encodeNote(note);
    writeStorage(this.#notes, fd, value);
    value.fill(0);
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
    this.prompt.close();
    this.records.close();
    this.#links.close(purge);
    this.#sysctls.close();
    this.#guards.close();
    this.#firstSegments.close();
    // Whoever gets loose goes by the marks.
    if (!handsAreBehind()) this.#programs.close();
  }

  #expect(fd: number, ...wanted: readonly SocketPhase[]): SocketPhase {
    const phase = this.phase(fd);
    // A token that never left may be exchanged for another.
    if (phase === 'armed' && wanted.includes('fresh')) return 'fresh';
    if (wanted.includes(phase)) return phase;
    throw unexpected(phase, wanted);
  }

  #orRelease<T>(fd: number, action: () => T): T {
    try {
      return action();
    } catch (error) {
      this.release(fd);
      throw explained(error);
    }
  }

  /** From here on no SYN of this socket leaves, whatever happens to this process. */
  #prepare(fd: number, { sockaddr }: Peer, wanted: readonly SocketPhase[]): Ready {
    if (this.#links.areBare) this.follow();
    for (;;) {
      const prepared = this.#orRelease(fd, () => deferred(prepare(fd, sockaddr, this.#sources)));
      if (prepared.outcome === 'ready') return prepared;
      if (prepared.outcome === 'unfit')
        throw unexpected(phaseOf(prepared.state, decodeMark(prepared.mark)), wanted);
      this.follow();
    }
  }
}
