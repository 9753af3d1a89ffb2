import type { Policy } from '../config/policy.ts';
import { matchesDestination } from '../config/targets.ts';
import type { Answered, Peer, Sight } from '../engine/engine.ts';
import type { Message } from '../spec/codec.ts';
import { moved, prefix, type StealthConnect, write, writeAnnounced } from './delayed.ts';
import { type ProgramStealth, readNote, secretsOf, updateNote } from './note.ts';
import { describePeer, parseSockaddr } from './sockaddr.ts';
import { type Credentials, type Dealings, type Surroundings, whoIs } from './surroundings.ts';
import { refuse, UNKNOWN_LOG_LEVEL, type Verdict, verdict } from './verdict.ts';

/** Out of patience with a SYN that was held back while the application blocks in connect(). Milliseconds. */
const HELD_BACK_AFTER = 1000;

const EINPROGRESS = 115;

/** A connect that was armed, or found under way, and is not reported yet. */
interface Armed {
  readonly fd: number;
  readonly connect: StealthConnect;
  /** Of the token; undefined for one that was found under way. */
  readonly isn: number | undefined;
  readonly timer: NodeJS.Timeout;
}

function idle(peer: Peer, secret: Uint8Array): StealthConnect {
  const { sockaddr } = peer;
  const nothing = { bytes: new Uint8Array(), accepted: 0, announced: false };
  return { state: 'idle', sockaddr, secret, protectedLength: 0, logLevel: UNKNOWN_LOG_LEVEL, ...nothing };
}

/** Nothing is written: a program that came by the socket another way wants to know where it is to be connected to. */
function asked(connect: StealthConnect): Verdict {
  return verdict('gathered', {
    logLevel: connect.logLevel,
    sockaddr: connect.sockaddr,
    prefix: prefix(connect),
  });
}

/** The client side of a session: connect(), and the sends of a delayed connect. */
export class Connecting implements Dealings {
  readonly #around: Surroundings;
  readonly #client: Credentials;
  readonly #secrets: Uint8Array[] = [];
  #armed: Armed | undefined;

  constructor(around: Surroundings, client: Credentials) {
    this.#around = around;
    this.#client = client;
  }

  connect(socket: number, sight: Sight, request: Message<'connect'>, policy: Policy): Verdict {
    const { logLevel, secret, protectedLength, targets } = policy;
    const peer = parseSockaddr(request.peer.subarray(0, request.peer_size));
    if (!this.#makeFresh(socket, sight) || !matchesDestination(targets, peer))
      return verdict('pass', { logLevel });
    const connect = { ...idle(peer, secret), protectedLength, logLevel };
    if (protectedLength === 0) return this.#arm(socket, moved(connect, 'connect'), peer);
    this.#around.engine.defer(socket, peer);
    this.#keep(socket, moved(connect, 'fake'));
    return verdict('deferred', { logLevel });
  }

  /** To a destination that is no target. */
  leaveAlone(socket: number, sight: Sight): Verdict {
    this.#makeFresh(socket, sight);
    return verdict('pass');
  }

  /** The program chose secret and protected bytes itself: no setting and no target counts. */
  connectAsTold(socket: number, sight: Sight, request: Message<'connect'>, program: ProgramStealth): Verdict {
    const { secret, payload } = program;
    const peer = parseSockaddr(request.peer.subarray(0, request.peer_size));
    if (!this.#makeFresh(socket, sight)) return verdict('pass');
    const connect = {
      ...idle(peer, secret),
      protectedLength: payload.length,
      bytes: payload,
      announced: payload.length > 0,
    };
    return this.#arm(socket, moved(connect, 'connect'), peer);
  }

  /** Goes on with a connect that was answered promptly; `overdue`, if it has not been reported for long. */
  adopt({ socket, isn, logLevel }: Answered, overdue: boolean): void {
    const unknown = { sockaddr: new Uint8Array(), secret: new Uint8Array(), bytes: new Uint8Array() };
    const armed = { ...unknown, logLevel, protectedLength: 0, accepted: 0, announced: false };
    this.#await(socket, moved({ state: 'idle', ...armed }, 'connect'), isn);
    if (overdue) this.#checkHeldBack();
  }

  send(socket: number, payload: Uint8Array): Verdict {
    const { engine } = this.#around;
    const note = readNote(engine, socket);
    this.#secrets.push(...secretsOf(note));
    const { connect } = note;
    if (connect === undefined) return this.#unknown(socket);
    if (connect.announced) return this.#compare(socket, connect, payload);
    if (payload.length === 0) return asked(connect);
    const { logLevel } = connect;
    const result = write(connect, payload);
    switch (result.kind) {
      case 'gathered':
        updateNote(engine, socket, { connect: result.connect });
        return verdict('gathered', { logLevel });
      case 'complete':
        return this.#arm(socket, result.connect, parseSockaddr(connect.sockaddr));
      case 'retry':
        // Armed, but its SYN has not left: the port was taken meanwhile, or the library was interrupted.
        if (engine.phase(socket) !== 'foreign')
          return this.#arm(socket, result.connect, parseSockaddr(connect.sockaddr));
        this.#await(socket, result.connect);
        return verdict('flush', { logLevel, prefix: prefix(result.connect) });
      case 'mismatch':
        engine.release(socket);
        updateNote(engine, socket, { connect: undefined });
        return refuse(
          'the write after EAGAIN did not repeat the bytes that the token on the wire protects; the connection is given up',
          logLevel,
        );
    }
  }

  report(error: number): Verdict {
    const armed = this.#armed;
    const { engine, log } = this.#around;
    this.#armed = undefined;
    const final = error !== 0 && error !== EINPROGRESS;
    if (armed === undefined) return verdict('pass');
    clearTimeout(armed.timer);
    const { fd, connect, isn } = armed;
    const reason = engine.settle(fd, isn);
    const event = error === 0 ? 'sent' : final || reason !== undefined ? 'error' : 'pending';
    const next = moved(connect, event);
    log.debug(`connect of ${whoIs(this.#client)}: ${next.state}`, this.#client);
    if (next.state !== 'armed' && !(connect.announced && next.state === 'connected'))
      updateNote(engine, fd, { connect: undefined });
    if (reason !== undefined) this.#giveUp(fd, reason);
    const { logLevel } = connect;
    return reason === undefined ? verdict('pass', { logLevel }) : refuse(reason, logLevel);
  }

  end(): void {
    clearTimeout(this.#armed?.timer);
    for (const secret of this.#secrets) secret.fill(0);
  }

  /** Through a copy of the descriptor, or by another process, the connect may have been made already. */
  #unknown(socket: number): Verdict {
    if (this.#around.engine.phase(socket) === 'foreign') return verdict('pass');
    return refuse(
      'nothing is known of this delayed connect (was the control process replaced?): connect again',
    );
  }

  /** What is connecting, connected or listening gets its errno from the kernel: false. */
  #makeFresh(socket: number, { phase, marked }: Sight): boolean {
    if (phase !== 'fresh' && phase !== 'armed') return false;
    // An earlier attempt, by this control process or one before it, may have left its mark.
    if (marked) this.#around.engine.release(socket);
    return true;
  }

  /** The bytes are with the kernel already: all that is left is to say what the peer will make of them. */
  #compare(socket: number, connect: StealthConnect, payload: Uint8Array): Verdict {
    const { engine } = this.#around;
    const next = writeAnnounced(connect, payload);
    const more = next !== undefined && next.accepted < next.bytes.length;
    updateNote(engine, socket, { connect: more ? next : undefined });
    if (next !== undefined) return verdict('pass', { follow: more });
    const text =
      'the bytes written first are not those that TCP_STEALTH_INTEGRITY announced: the peer will reset the connection';
    return verdict('pass', { text });
  }

  /** A socket whose note can't be written could never be armed: it goes back to fresh instead. */
  #keep(socket: number, connect: StealthConnect): void {
    const { engine } = this.#around;
    try {
      updateNote(engine, socket, { connect });
    } catch (error) {
      engine.release(socket);
      throw error;
    }
  }

  #arm(socket: number, connect: StealthConnect, peer: Peer): Verdict {
    const { engine, log } = this.#around;
    const { logLevel, sockaddr } = connect;
    const payload = connect.protectedLength > 0 ? connect.bytes : undefined;
    const { isn } = engine.arm(socket, peer, connect.secret, payload);
    if (payload !== undefined) this.#keep(socket, connect);
    log.debug(`armed a connect of ${whoIs(this.#client)} to ${describePeer(peer)}`, this.#client);
    this.#await(socket, connect, isn);
    return verdict('proceed', { logLevel, sockaddr, prefix: prefix(connect), follow: connect.announced });
  }

  #await(fd: number, connect: StealthConnect, isn?: number): void {
    const timer = setTimeout(() => this.#checkHeldBack(), HELD_BACK_AFTER);
    this.#armed = { fd, connect, isn, timer };
  }

  /** The application blocks in connect(): end that if the SYN did not leave as it should. */
  #checkHeldBack(): void {
    const armed = this.#armed;
    if (armed === undefined) return;
    try {
      const reason = this.#around.engine.settle(armed.fd, armed.isn);
      if (reason !== undefined) this.#giveUp(armed.fd, reason);
    } catch (error) {
      const text = error instanceof Error ? error.message : error;
      this.#around.log.error(`looking after a connect: ${text}`, this.#client);
    }
  }

  #giveUp(fd: number, reason: string): void {
    this.#around.log.error(`a SYN of ${whoIs(this.#client)} was held back: ${reason}`, this.#client);
    this.#around.engine.release(fd);
  }
}
