import type { Left } from '../engine/engine.ts';
import { decode, encode, MAX_MESSAGE_SIZE, ProtocolError } from '../spec/codec.ts';
import { ByDescriptor } from '../sys/byDescriptor.ts';
import * as channel from '../sys/channel.ts';
import { SysError } from '../sys/error.ts';
import { Admission, type Elsewhere, LIMITS, type Limits } from './admission.ts';
import { Door, NOTHING } from './door.ts';
import { Session } from './session.ts';
import type { Surroundings } from './surroundings.ts';
import type { Told } from './telling.ts';
import { type Answer, answerTool, isQuestion, type Tool } from './tools.ts';
import { refuse } from './verdict.ts';

/** How often the engine looks at what the kernel does not tell of. Milliseconds. */
const FOLLOW_EVERY = 5000;

/** How often those who wait for their turn are thought of: a client elsewhere, or whose socket is closed at last, tells nobody. Milliseconds. */
const ADMIT_EVERY = 500;

/** Where JavaScript has all clients: who is gone, but whose socket is not closed yet, counts there, too. */
const UNANSWERED: Elsewhere = { clients: channel.releasing, elsewhere: () => {} };

interface Client extends Tool {
  readonly fd: number;
  readonly session: Session;
  readonly unwatch: () => void;
  /** When it was heard of last, by performance.now(). */
  heardAt: number;
}

/** The same with a datagram of its own: that of a client who waits must not be overwritten by others'. */
function kept(left: Left): Left {
  const { datagram } = left;
  if (datagram === undefined || datagram instanceof SysError) return left;
  const data = Buffer.from(datagram.data);
  datagram.data.fill(0);
  return { ...left, datagram: { ...datagram, data } };
}

/** Serves applications over a SOCK_SEQPACKET Unix socket, one session a connection. */
export class ControlServer {
  readonly #around: Surroundings;
  readonly #clients = new ByDescriptor<Client>();
  readonly #buffer = Buffer.alloc(MAX_MESSAGE_SIZE);
  #unfollow: (() => void) | undefined;
  readonly #limits: Limits;
  readonly #admission: Admission<Left>;
  readonly #sweeper: NodeJS.Timeout;
  readonly #admitting: NodeJS.Timeout;
  readonly #door: Door;
  readonly #following: NodeJS.Timeout;
  /** Why the interfaces could not be followed when it was tried last. */
  #unfollowed: string | undefined;

  /** `listener` is a listening channel descriptor; the server owns it from here on. */
  constructor(listener: number, around: Surroundings, limits = LIMITS) {
    this.#around = around;
    this.#limits = limits;
    this.#admission = new Admission(limits.perUser, around.prompt ?? UNANSWERED);
    this.#sweeper = setInterval(() => this.#sweep(), limits.silence / 2).unref();
    if (around.telling !== undefined) around.telling.status.sessions = () => this.#clients.size;
    const { changes } = around.engine;
    if (changes !== undefined) this.#unfollow = channel.watch(changes, () => this.#follow());
    this.#following = setInterval(() => this.#follow(true), FOLLOW_EVERY).unref();
    this.#door = new Door(listener, around, {
      perUser: limits.perUser,
      enter: (left) => this.#enter(left),
    });
    this.#admitting = setInterval(() => {
      for (const left of this.#admission.admit()) this.#begin(left);
    }, ADMIT_EVERY).unref();
  }

  close(): void {
    clearInterval(this.#sweeper);
    clearInterval(this.#admitting);
    clearInterval(this.#following);
    this.#door.close();
    this.#unfollow?.();
    this.#unfollow = undefined;
    for (const left of this.#admission.clear()) this.#discard(left);
    for (const client of this.#clients.values()) this.#drop(client);
  }

  #follow(all = false): void {
    try {
      this.#around.engine.follow(all);
      this.#unfollowed = undefined;
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      // Whoever would have a socket armed is told, too.
      if (text !== this.#unfollowed) this.#around.log.error(`following the interfaces: ${text}`);
      this.#unfollowed = text;
    }
  }

  #enter(left: Left): void {
    const { uid } = left.identity;
    const turn = this.#admission.ask(uid, () => kept(left));
    if (turn === 'admitted') this.#begin(left);
    if (turn !== 'turned away') return;
    this.#around.log.info(`turned a client away: user ${uid} has too many`);
    this.#discard(left);
  }

  #discard({ client, datagram, answered, begun }: Left): void {
    if (datagram !== undefined && !(datagram instanceof SysError)) {
      if (begun) this.#takeBack(datagram);
      for (const fd of datagram.descriptors) channel.release(fd);
      datagram.data.fill(0);
    }
    if (answered !== undefined) channel.release(answered.socket);
    channel.hangUp(client);
  }

  /** An answer was begun and broken off, for a reason that whoever begins anew will find once more. */
  #takeBack({ descriptors: [socket] }: channel.Datagram): void {
    try {
      if (socket !== undefined) this.#around.engine.release(socket);
    } catch (error) {
      this.#around.log.error(`taking an answer back: ${error instanceof Error ? error.message : error}`);
    }
  }

  #begin(left: Left): void {
    const { client: fd, identity, answered, datagram } = left;
    const session: Session = new Session(
      this.#around,
      identity,
      (answer) => this.#send(client, answer),
      channel.release,
    );
    const unwatch = this.#watch(fd, () => this.#serve(client));
    if (unwatch === undefined) {
      this.#discard(left);
      this.#leave(identity.uid);
      return;
    }
    const client: Client = { fd, uid: identity.uid, session, unwatch, heardAt: performance.now() };
    this.#clients.set(fd, client);
    if (answered !== undefined) session.adopt(answered, datagram === undefined);
    this.#take(client, datagram, left);
  }

  /** Undefined where the kernel has no room for it. */
  #watch(fd: number, readable: () => void): (() => void) | undefined {
    try {
      return channel.watch(fd, readable);
    } catch (error) {
      this.#around.log.error(`watching a client: ${error instanceof Error ? error.message : error}`);
      return undefined;
    }
  }

  /** Whoever connects and says nothing holds nothing for ever. */
  #sweep(): void {
    const { silence, call } = this.#limits;
    this.#admission.tidy();
    const now = performance.now();
    for (const client of this.#clients.values()) {
      if (client.unfollow !== undefined) continue;
      if (now - client.heardAt < (client.session.calling ? call : silence)) continue;
      this.#around.log.info(`dropped a client of user ${client.uid} that said nothing any more`);
      this.#drop(client);
    }
  }

  /** One datagram: then the others get their turn. */
  #serve(client: Client): void {
    try {
      this.#take(client, channel.receive(client.fd, this.#buffer));
    } catch (error) {
      this.#lose(client, error);
    }
  }

  #take(
    client: Client,
    datagram: Left['datagram'],
    { begun, question }: Pick<Left, 'begun' | 'question'> = NOTHING,
  ): void {
    try {
      if (datagram === undefined) return;
      if (datagram instanceof SysError) throw datagram;
      if (datagram.data.length === 0) {
        for (const fd of datagram.descriptors) channel.release(fd);
        this.#drop(client);
        return;
      }
      client.heardAt = performance.now();
      if (begun) this.#takeBack(datagram);
      const answer = this.#answer(client, datagram);
      // A secret may have been in it.
      datagram.data.fill(0);
      const { lesson } = client.session;
      if (lesson !== undefined) this.#around.prompt?.teach(question, lesson.secret, lesson.logLevel);
      if (answer !== undefined) this.#send(client, answer);
      else if (client.session.over) this.#drop(client);
    } catch (error) {
      this.#lose(client, error);
    }
  }

  #send(client: Client, answer: Answer): void {
    if (this.#clients.get(client.fd) !== client) return;
    try {
      channel.send(client.fd, encode(answer));
      if (client.session.over) this.#drop(client);
    } catch (error) {
      this.#lose(client, error);
    }
  }

  /** A client that sends nonsense or does not read its answer loses its connection, and nobody else anything. */
  #lose(client: Client, error: unknown): void {
    const { log } = this.#around;
    if (error instanceof SysError) log.info(`dropped a client: ${error.message}`);
    else log.error(`dropped a client: ${error instanceof Error ? error.stack : error}`);
    this.#drop(client);
  }

  #answer(client: Client, { data, descriptors }: channel.Datagram): Answer | undefined {
    try {
      const message = decode(data);
      if (descriptors.length > 0 || !isQuestion(message)) return client.session.receive(message, descriptors);
      return answerTool(this.#around, client, message, (event) => this.#sendEvent(client, event));
    } catch (error) {
      // Once the session has them it closes them itself, and it does not throw.
      for (const fd of descriptors) channel.release(fd);
      if (!(error instanceof ProtocolError)) throw error;
      this.#around.log.info(`not understood: ${error.message}`);
      return refuse(error.message);
    }
  }

  /** False where the client reads too slowly. */
  #sendEvent(client: Client, event: Told): boolean {
    try {
      channel.send(client.fd, encode(event));
      return true;
    } catch (error) {
      if (!(error instanceof SysError && error.code === 'EAGAIN')) this.#lose(client, error);
      return false;
    }
  }

  #drop(client: Client): void {
    if (this.#clients.get(client.fd) !== client) return;
    this.#clients.delete(client.fd);
    client.unwatch();
    client.unfollow?.();
    client.session.end();
    channel.hangUp(client.fd);
    this.#leave(client.uid);
  }

  #leave(uid: number): void {
    const next = this.#admission.leave(uid);
    if (next !== undefined) this.#begin(next);
  }
}
