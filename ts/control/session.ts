import { ConfigError } from '../config/error.ts';
import { buildPolicy, type Policy } from '../config/policy.ts';
import type { Settings } from '../config/settings.ts';
import { matchesDestination, matchesListener } from '../config/targets.ts';
import { type Engine, EngineError, type Peer } from '../engine/engine.ts';
import type { Message } from '../spec/codec.ts';
import { SysError } from '../sys/error.ts';
import { FileError } from '../sys/files.ts';
import { applicationSettings, type Credentials, secretFileContents } from './application.ts';
import { moved, prefix, type StealthConnect, TransitionError, write } from './delayed.ts';
import type { Log } from './log.ts';
import { decodeConnect, decodeListener, encodeConnect, encodeListener } from './note.ts';
import { describePeer, parseSockaddr } from './sockaddr.ts';
import { refuse, STEALTH_UNAVAILABLE, type Verdict, verdict } from './verdict.ts';

/** What a session needs of the rest of the control process. */
export interface Surroundings {
  readonly engine: Engine;
  /** The control process's own policy, lent to applications that bring no secret. */
  readonly ownPolicy: Policy | undefined;
  readonly localAddress: (fd: number) => Uint8Array;
  readonly log: Log;
}

/** Out of patience with a SYN that was held back while the application blocks in connect(). Milliseconds. */
const HELD_BACK_AFTER = 1000;

const EINPROGRESS = 115;

type Request = Message<'connect' | 'listen'>;

/** A request that waits for the file with its secret. */
interface Waiting {
  readonly path: string;
  readonly resume: (file: Uint8Array) => Verdict;
}

/** A connect that was armed in this session and is not reported yet. */
interface Armed {
  readonly fd: number;
  readonly connect: StealthConnect;
  readonly timer: NodeJS.Timeout;
}

/**
 * One connection of one application: a request, its verdict, and where the application then makes a real call, the
 * report of how that ended. Owns the descriptors that it is handed until `end`. Nothing here blocks.
 */
export class Session {
  readonly #around: Surroundings;
  readonly #client: Credentials;
  readonly #held: number[] = [];
  readonly #release: (fd: number) => void;
  #waiting: Waiting | undefined;
  #armed: Armed | undefined;
  #asked = false;

  constructor(around: Surroundings, client: Credentials, release: (fd: number) => void) {
    this.#around = around;
    this.#client = client;
    this.#release = release;
  }

  /** Takes a message and its descriptors; returns the answer, if there is one. Never throws. */
  receive(message: Message, descriptors: readonly number[]): Verdict | undefined {
    this.#held.push(...descriptors);
    try {
      return this.#handle(message, descriptors);
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** The application hung up. */
  end(): void {
    clearTimeout(this.#armed?.timer);
    for (const fd of this.#held.splice(0)) this.#release(fd);
  }

  #handle(message: Message, descriptors: readonly number[]): Verdict | undefined {
    const [socket, second] = descriptors;
    if (message.kind === 'report') return this.#report(message.error);
    if (message.kind === 'file') return this.#file(message.error, socket);
    if (message.kind === 'verdict' || this.#asked)
      return refuse(`a '${message.kind}' message is out of order`);
    this.#asked = true;
    if (socket === undefined) return refuse(`a '${message.kind}' message came without its socket`);
    if (message.kind === 'send') return this.#send(socket, message.payload);
    if (message.kind === 'accepted') return this.#accepted(socket, second);
    const settings = applicationSettings(message, second, this.#client);
    if (settings.secret?.kind !== 'file') return this.#request(message, socket, settings, undefined);
    const { path, pathBytes } = settings.secret;
    this.#waiting = { path, resume: (file) => this.#request(message, socket, settings, file) };
    return verdict('need_file', { path: pathBytes });
  }

  #file(error: number, file: number | undefined): Verdict {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) return refuse("a 'file' message is out of order");
    return waiting.resume(secretFileContents(waiting.path, error, file));
  }

  #request(request: Request, socket: number, settings: Settings, file: Uint8Array | undefined): Verdict {
    const policy = buildPolicy(settings, file, this.#around.ownPolicy);
    return request.kind === 'listen' ? this.#listen(socket, policy) : this.#connect(socket, request, policy);
  }

  #connect(socket: number, request: Message<'connect'>, policy: Policy): Verdict {
    const { engine } = this.#around;
    const { logLevel, secret, protectedLength } = policy;
    const peer = parseSockaddr(request.peer.slice(0, request.peer_size));
    const phase = engine.phase(socket);
    const unsent = phase === 'fresh' || phase === 'armed';
    if (!matchesDestination(policy.targets, peer)) {
      if (phase === 'armed') engine.release(socket);
      return verdict('pass', { logLevel });
    }
    // What is connecting, connected or listening gets its errno from the kernel.
    if (!unsent) return verdict('pass', { logLevel });
    const connect: StealthConnect = {
      state: 'idle',
      sockaddr: peer.sockaddr,
      secret,
      protectedLength,
      logLevel,
      bytes: new Uint8Array(),
      accepted: 0,
    };
    if (phase === 'armed') engine.release(socket);
    if (protectedLength === 0) return this.#arm(socket, moved(connect, 'connect'), peer);
    engine.defer(socket, peer);
    this.#keep(socket, moved(connect, 'fake'));
    return verdict('deferred', { logLevel });
  }

  /** A socket whose note can't be written could never be armed: it goes back to fresh instead. */
  #keep(socket: number, connect: StealthConnect): void {
    const { engine } = this.#around;
    try {
      engine.writeNote(socket, encodeConnect(connect));
    } catch (error) {
      engine.release(socket);
      throw error;
    }
  }

  #arm(socket: number, connect: StealthConnect, peer: Peer): Verdict {
    const { engine, log } = this.#around;
    const { logLevel, sockaddr } = connect;
    const payload = connect.protectedLength > 0 ? connect.bytes : undefined;
    engine.arm(socket, peer, connect.secret, payload);
    if (payload !== undefined) this.#keep(socket, connect);
    log.debug(`armed a connect of process ${this.#client.pid} to ${describePeer(peer)}`);
    const timer = setTimeout(() => this.#checkHeldBack(), HELD_BACK_AFTER);
    this.#armed = { fd: socket, connect, timer };
    return verdict('proceed', { logLevel, sockaddr, prefix: prefix(connect) });
  }

  #send(socket: number, payload: Uint8Array): Verdict {
    const { engine } = this.#around;
    const note = engine.readNote(socket);
    const connect = note === undefined ? undefined : decodeConnect(note);
    // Through a copy of the descriptor, or by another process, the connect was made already.
    if (connect === undefined && engine.phase(socket) === 'foreign') return verdict('pass');
    if (connect === undefined)
      return refuse(
        'nothing is known of this delayed connect (was the control process replaced?): connect again',
      );
    const { logLevel } = connect;
    const result = write(connect, payload);
    switch (result.kind) {
      case 'gathered':
        engine.writeNote(socket, encodeConnect(result.connect));
        return verdict('gathered', { logLevel });
      case 'complete':
        return this.#arm(socket, result.connect, parseSockaddr(connect.sockaddr));
      case 'retry': {
        const timer = setTimeout(() => this.#checkHeldBack(), HELD_BACK_AFTER);
        this.#armed = { fd: socket, connect: result.connect, timer };
        return verdict('flush', { logLevel, prefix: prefix(result.connect) });
      }
      case 'mismatch':
        engine.release(socket);
        engine.dropNote(socket);
        return refuse(
          'the write after EAGAIN did not repeat the bytes that the token on the wire protects; the connection is given up',
          logLevel,
        );
    }
  }

  /** The application blocks in connect(): end that if the SYN did not leave as it should. */
  #checkHeldBack(): void {
    const armed = this.#armed;
    if (armed === undefined) return;
    const reason = this.#around.engine.settle(armed.fd);
    if (reason === undefined) return;
    this.#around.log.error(`a SYN of process ${this.#client.pid} was held back: ${reason}`);
    this.#around.engine.release(armed.fd);
  }

  #report(error: number): Verdict | undefined {
    const armed = this.#armed;
    const { engine, log } = this.#around;
    this.#armed = undefined;
    if (armed === undefined) return error === 0 || error === EINPROGRESS ? undefined : verdict('pass');
    clearTimeout(armed.timer);
    const { fd, connect } = armed;
    const reason = engine.settle(fd);
    const event = error === 0 ? 'sent' : error === EINPROGRESS && reason === undefined ? 'pending' : 'error';
    const next = moved(connect, event);
    log.debug(`connect of process ${this.#client.pid}: ${next.state}`);
    if (next.state !== 'armed') engine.dropNote(fd);
    if (reason !== undefined) {
      log.error(`a SYN of process ${this.#client.pid} was held back: ${reason}`);
      engine.release(fd);
    }
    if (error === 0 || error === EINPROGRESS) return undefined;
    const { logLevel } = connect;
    return reason === undefined ? verdict('pass', { logLevel }) : refuse(reason, logLevel);
  }

  #listen(socket: number, policy: Policy): Verdict {
    const { engine, log } = this.#around;
    const { logLevel, secret, protectedLength } = policy;
    const local = parseSockaddr(this.#around.localAddress(socket));
    const phase = engine.phase(socket);
    if (!matchesListener(policy.targets, local) || phase === 'guarded') return verdict('pass', { logLevel });
    if (phase === 'deferred' || phase === 'armed') engine.release(socket);
    const protection = { secret, protectedLength };
    engine.guard(socket, protection);
    engine.writeNote(socket, encodeListener(protection));
    log.debug(`guarded ${describePeer(local)} for process ${this.#client.pid}`);
    return verdict('proceed', { logLevel, inspect: protectedLength > 0 && !engine.inspectsFirstSegment });
  }

  #accepted(socket: number, listener: number | undefined): Verdict {
    const { engine, log } = this.#around;
    if (listener === undefined) return refuse("an 'accepted' message came without its listener");
    const note = engine.readNote(listener);
    const protection = note === undefined ? undefined : decodeListener(note);
    if (protection === undefined)
      return verdict('reset', {
        text: 'nothing is known of this listener (was the control process replaced?)',
      });
    const inspection = engine.inspectAccepted(socket, protection);
    if (inspection.pass) return verdict('pass');
    log.info(`reset a connection to process ${this.#client.pid}: ${inspection.reason}`);
    return verdict('reset');
  }

  #failed(error: unknown): Verdict {
    const { log } = this.#around;
    // The network's own refusals (unreachable, no address left) are the application's to see.
    if (error instanceof SysError && error.operation === 'connect')
      return verdict('refuse', { error: error.errno });
    const expected =
      error instanceof ConfigError ||
      error instanceof EngineError ||
      error instanceof SysError ||
      error instanceof FileError ||
      error instanceof TransitionError ||
      error instanceof RangeError;
    const text = error instanceof Error ? error.message : String(error);
    log.error(
      `process ${this.#client.pid}: ${expected ? text : error instanceof Error ? error.stack : text}`,
    );
    return verdict('refuse', {
      text: expected ? text : `internal error: ${text}`,
      error: STEALTH_UNAVAILABLE,
    });
  }
}
