import { decode, encode, MAX_MESSAGE_SIZE, ProtocolError } from '../spec/codec.ts';
import * as channel from '../sys/channel.ts';
import { SysError } from '../sys/error.ts';
import { Admission, LIMITS, type Limits } from './admission.ts';
import { Session } from './session.ts';
import type { Surroundings } from './surroundings.ts';
import { refuse, type Verdict } from './verdict.ts';

/** How long to leave the queue alone when descriptors have run out. Milliseconds. */
const BREATHER = 100;

/** How many clients are let in before those that are in get their turn. */
const ACCEPTS = 32;

/** How many datagrams of one client are taken before the others get their turn. */
const TURN = 4;

interface Client {
  readonly fd: number;
  readonly uid: number;
  readonly session: Session;
  readonly unwatch: () => void;
  /** When it was heard of last, by performance.now(). */
  heardAt: number;
}

interface Arrival {
  readonly fd: number;
  readonly identity: channel.Identity;
}

/** Serves applications over a SOCK_SEQPACKET Unix socket, one session a connection. */
export class ControlServer {
  readonly #around: Surroundings;
  readonly #listener: number;
  readonly #clients = new Set<Client>();
  readonly #buffer = Buffer.alloc(MAX_MESSAGE_SIZE);
  #unwatch: (() => void) | undefined;
  #unfollow: (() => void) | undefined;
  #breather: NodeJS.Timeout | undefined;
  readonly #limits: Limits;
  readonly #admission: Admission<Arrival>;
  readonly #sweeper: NodeJS.Timeout;

  /** `listener` is a listening channel descriptor; the server owns it from here on. */
  constructor(listener: number, around: Surroundings, limits = LIMITS) {
    this.#listener = listener;
    this.#around = around;
    this.#limits = limits;
    this.#admission = new Admission(limits.perUser);
    this.#sweeper = setInterval(() => this.#sweep(), limits.silence / 2).unref();
    this.#unwatch = channel.watch(listener, () => this.#accept());
    const { changes } = around.engine;
    if (changes !== undefined) this.#unfollow = channel.watch(changes, () => this.#follow());
  }

  close(): void {
    clearTimeout(this.#breather);
    clearInterval(this.#sweeper);
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#unfollow?.();
    this.#unfollow = undefined;
    channel.close(this.#listener);
    for (const { fd } of this.#admission.clear()) channel.close(fd);
    for (const client of [...this.#clients]) this.#drop(client);
  }

  #follow(): void {
    try {
      this.#around.engine.follow();
    } catch (error) {
      // Whoever arms a socket next is told, too.
      this.#around.log.error(`following the interfaces: ${error instanceof Error ? error.message : error}`);
    }
  }

  #accept(): void {
    try {
      for (let turn = 0; turn < ACCEPTS; turn++) {
        const next = channel.accept(this.#listener);
        if (next === undefined) return;
        const { uid } = next.identity;
        const turn = this.#admission.ask(uid, next);
        if (turn === 'admitted') this.#begin(next);
        if (turn !== 'turned away') continue;
        this.#around.log.info(`turned a client away: user ${uid} has too many`);
        channel.close(next.fd);
      }
    } catch (error) {
      this.#around.log.error(`accepting a client: ${error instanceof Error ? error.message : error}`);
      this.#pause();
    }
  }

  #begin({ fd, identity }: Arrival): void {
    const session: Session = new Session(
      this.#around,
      identity,
      (answer) => this.#send(client, answer),
      channel.close,
    );
    const unwatch = channel.watch(fd, () => this.#serve(client));
    const client: Client = { fd, uid: identity.uid, session, unwatch, heardAt: performance.now() };
    this.#clients.add(client);
    this.#serve(client);
  }

  /** Whoever connects and says nothing holds nothing for ever. */
  #sweep(): void {
    const { silence, call } = this.#limits;
    const now = performance.now();
    for (const client of [...this.#clients]) {
      if (now - client.heardAt < (client.session.calling ? call : silence)) continue;
      this.#around.log.info(`dropped a client of user ${client.uid} that said nothing any more`);
      this.#drop(client);
    }
  }

  /** Out of descriptors, the listener stays readable: waiting in the loop would spin. */
  #pause(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#breather = setTimeout(() => {
      this.#unwatch = channel.watch(this.#listener, () => this.#accept());
    }, BREATHER);
  }

  #serve(client: Client): void {
    try {
      for (let turn = 0; turn < TURN; turn++) {
        const datagram = channel.receive(client.fd, this.#buffer);
        if (datagram === undefined) return;
        if (datagram.data.length === 0) {
          for (const fd of datagram.descriptors) channel.close(fd);
          this.#drop(client);
          return;
        }
        client.heardAt = performance.now();
        const answer = this.#answer(client.session, datagram);
        // A secret may have been in it.
        datagram.data.fill(0);
        if (answer !== undefined) this.#send(client, answer);
      }
    } catch (error) {
      this.#lose(client, error);
    }
  }

  #send(client: Client, answer: Verdict): void {
    if (!this.#clients.has(client)) return;
    try {
      channel.send(client.fd, encode(answer));
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

  #answer(session: Session, { data, descriptors }: channel.Datagram): Verdict | undefined {
    try {
      return session.receive(decode(data), descriptors);
    } catch (error) {
      // Once the session has them it closes them itself, and it does not throw.
      for (const fd of descriptors) channel.close(fd);
      if (!(error instanceof ProtocolError)) throw error;
      this.#around.log.info(`not understood: ${error.message}`);
      return refuse(error.message);
    }
  }

  #drop(client: Client): void {
    if (!this.#clients.delete(client)) return;
    client.unwatch();
    client.session.end();
    channel.close(client.fd);
    const next = this.#admission.leave(client.uid);
    if (next !== undefined) this.#begin(next);
  }
}
