import { SysError } from '../sys/error.ts';
import { getBytes, setBytes, setInt, writeIsn } from '../sys/libc.ts';
import {
  type Forgotten,
  forbidDeferral,
  readForgotten,
  stopListening,
  undoDeferral,
} from '../sys/sequences.ts';
import { deferConnect } from './deferral.ts';
import {
  type ArmedToken,
  type Engine,
  EngineError,
  type Inspection,
  NOTE_BYTES,
  type Peer,
  type Protection,
  type Sight,
  type SocketPhase,
} from './engine.ts';
import { assertTcpSocket, kindOf, ownNamespace, TCP_STATE, tcpState } from './socket.ts';
import { Sysctls } from './sysctls.ts';

/** Sockets whose state is kept; the oldest go first, since nobody says when a socket is closed. */
const MOST_SOCKETS = 65_536;
const LONGEST_PROTECTED = 0xffff;

interface Known {
  readonly phase: SocketPhase;
  readonly forgotten: Forgotten;
  /** A connect was made, or was about to be: the kernel may keep its sequence number for the next one. */
  readonly numbered: boolean;
  readonly note: Uint8Array | undefined;
}
const UNKNOWN: Known = {
  phase: 'fresh',
  forgotten: { maxSegment: 0, windowClamp: 0, quickAck: 0 },
  numbered: false,
  note: undefined,
};

const EPERM = 1;

/** Takes away the sequence number that an earlier connect of an idle socket left. False without CAP_NET_ADMIN. */
function takeNumberAway(fd: number): boolean {
  try {
    writeIsn(fd, 0);
    return true;
  } catch (error) {
    if (error instanceof SysError && error.errno === EPERM) return false;
    throw error;
  }
}

/**
 * TCP Stealth on a kernel with the Knock patch, which computes and checks tokens itself. There STEALTH comes first
 * (INTEGRITY before it is EOPNOTSUPP), and setting it again ends integrity mode. What the stock engine keeps in
 * the kernel is kept here by SO_COOKIE, and is lost with this process.
 *
 * Needs no privilege, except for a second connect of a socket, and so for a deferred one: the patch computes a token
 * only where the socket has no sequence number yet. A disconnect leaves one behind, which only TCP_REPAIR takes away.
 */
export class KnockEngine implements Engine {
  readonly name = 'knock';
  readonly inspectsFirstSegment = true;
  readonly changes = undefined;
  readonly prompt = undefined;
  readonly secrets = undefined;
  readonly records = undefined;
  readonly #namespace = ownNamespace();
  readonly #sysctls = new Sysctls();
  readonly #known = new Map<bigint, Known>();

  look(fd: number): Sight {
    assertTcpSocket(kindOf(fd), this.#namespace);
    const { phase, note } = this.#recall(fd);
    const marked = phase === 'deferred' || phase === 'armed';
    return { phase: this.#phase(fd, phase), marked, noted: note !== undefined };
  }

  phase(fd: number): SocketPhase {
    return this.look(fd).phase;
  }

  #phase(fd: number, phase: SocketPhase): SocketPhase {
    switch (tcpState(fd)) {
      case TCP_STATE.close:
        return phase === 'armed' ? 'armed' : 'fresh';
      case TCP_STATE.synSent:
        return phase === 'deferred' ? 'deferred' : 'foreign';
      case TCP_STATE.listen:
        return phase === 'guarded' ? 'guarded' : 'listening';
      default:
        return 'foreign';
    }
  }

  /** The secret must be known later, but a random one now means that no plain SYN can leave even then. */
  defer(fd: number, peer: Peer): void {
    this.#expect(fd, 'fresh');
    if (!takeNumberAway(fd)) {
      throw new EngineError(
        'to delay a connect until the protected bytes are known needs CAP_NET_ADMIN also on a kernel with the Knock patch: start the control process with it, or have the program set TCP_STEALTH_INTEGRITY itself before it connects',
      );
    }
    setBytes(fd, 'TCP_STEALTH', crypto.getRandomValues(new Uint8Array(64)));
    this.#remember(fd, { phase: 'deferred', forgotten: readForgotten(fd), numbered: true });
    try {
      deferConnect(fd, peer, this.#sysctls.read('blackholeTimeout'));
    } catch (error) {
      this.release(fd);
      throw error;
    }
  }

  /** The kernel computes the token when the SYN leaves: what is returned is 0. */
  arm(fd: number, _peer: Peer, secret: Uint8Array, payload?: Uint8Array): ArmedToken {
    const phase = this.#expect(fd, 'fresh', 'armed', 'deferred');
    const { forgotten, numbered } = this.#recall(fd);
    // What was set since counts, but for TCP_MAXSEG, which can't be read now.
    if (phase === 'deferred') undoDeferral(fd, { ...readForgotten(fd), maxSegment: forgotten.maxSegment });
    // Tried without the privilege too: a connect that found no route left no number, and with one the peer refuses.
    if (numbered) takeNumberAway(fd);
    this.#remember(fd, { phase: 'armed', numbered: true });
    setBytes(fd, 'TCP_STEALTH', secret);
    if (payload !== undefined) setBytes(fd, 'TCP_STEALTH_INTEGRITY', payload);
    return { isn: 0, tsval: 0 };
  }

  follow(): void {}

  settle(_fd: number): undefined {
    return undefined;
  }

  /** The kernel can't be told to forget a secret: the socket's next connection still carries some token. */
  release(fd: number): void {
    const { phase, forgotten } = this.#recall(fd);
    const state = tcpState(fd);
    if (state === TCP_STATE.synSent && (phase === 'deferred' || phase === 'armed')) {
      undoDeferral(fd, phase === 'deferred' ? forgotten : readForgotten(fd));
    } else if (state === TCP_STATE.close && phase === 'deferred') {
      // The deferred connect failed, or the application took it back: its next one is not to be delayed.
      forbidDeferral(fd);
    }
    this.#remember(fd, { phase: 'fresh' });
  }

  guard(fd: number, { secret, protectedLength }: Protection, previous?: Protection): void {
    if (protectedLength > LONGEST_PROTECTED) {
      throw new EngineError(`the kernel protects at most ${LONGEST_PROTECTED} bytes, not ${protectedLength}`);
    }
    if (secret === undefined)
      throw new EngineError(
        'a kernel with the Knock patch checks one secret for each listener and knows no named ones: set KNOCK_SECRET for the program',
      );
    const phase = this.#expect(fd, 'fresh', 'guarded', 'listening');
    if (phase === 'guarded' && previous === undefined) return;
    if (phase === 'listening') stopListening(fd);
    setBytes(fd, 'TCP_STEALTH', secret);
    if (protectedLength > 0) setInt(fd, 'TCP_STEALTH_INTEGRITY_LEN', protectedLength);
    this.#remember(fd, { phase: 'guarded' });
  }

  inspectAccepted(_fd: number, _protection: Protection): Inspection {
    return { pass: true };
  }

  readNote(fd: number): Uint8Array | undefined {
    return this.#recall(fd).note?.slice();
  }

  writeNote(fd: number, note: Uint8Array): void {
    if (note.length > NOTE_BYTES)
      throw new RangeError(`a note of ${note.length} bytes; at most ${NOTE_BYTES}`);
    this.#remember(fd, { note: Uint8Array.from(note) });
  }

  dropNote(fd: number): void {
    this.#remember(fd, { note: undefined });
  }

  close(): void {
    this.#known.clear();
    this.#sysctls.close();
  }

  #expect(fd: number, ...wanted: readonly SocketPhase[]): SocketPhase {
    const phase = this.phase(fd);
    if (wanted.includes(phase)) return phase;
    throw new EngineError(`the socket is ${phase}; ${wanted.join(' or ')} was expected`);
  }

  #cookie(fd: number): bigint {
    return getBytes(fd, 'SO_COOKIE', 8).readBigUInt64LE();
  }

  #recall(fd: number): Known {
    return this.#known.get(this.#cookie(fd)) ?? UNKNOWN;
  }

  #remember(fd: number, news: Partial<Known>): void {
    const cookie = this.#cookie(fd);
    const known = { ...UNKNOWN, ...this.#known.get(cookie), ...news };
    // Deleting first makes it the youngest.
    this.#known.delete(cookie);
    this.#known.set(cookie, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST_SOCKETS) break;
      this.#known.delete(oldest);
    }
  }
}
