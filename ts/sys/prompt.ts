import { addon } from './addon.ts';
import { type Datagram, datagramOf, type Identity, MOST_DESCRIPTORS } from './channel.ts';
import { checked, SysError } from './error.ts';

/** Connects that are answered without JavaScript: native/prompt.h tells which, and its structs are mirrored here. */

interface Native {
  make(places: Uint8Array): unknown;
  descriptor(prompt: unknown): number;
  teach(prompt: unknown, question: number, logLevel: number, secret: Uint8Array): number;
  attend(prompt: unknown, listener: number, perUser: number): unknown;
  ignore(attended: unknown): number;
  accept(prompt: unknown, listener: number, perUser: number, buffer: Buffer, left: Buffer): number;
  hear(prompt: unknown, buffer: Buffer, left: Buffer): number;
  overdue(prompt: unknown, milliseconds: number, left: Buffer): number;
  clients(prompt: unknown, uid: number): number;
  elsewhere(prompt: unknown, uid: number, clients: number): number;
  answered(prompt: unknown): number;
  forget(prompt: unknown): number;
  close(prompt: unknown): number;
}

const native = (addon as { readonly prompt: Native }).prompt;

/** Where an answer looks besides the socket, by descriptor. */
export interface Places {
  /** Socket-storage maps. */
  readonly marks: number;
  readonly notes: number;
  /** Netlink socket. */
  readonly links: number;
  /** Files of sysctls. */
  readonly timestamps: number;
  readonly blackholeTimeout: number;
  /** SO_NETNS_COOKIE of the sockets that may be armed. */
  readonly network: bigint;
}

/** A client that is left to the caller, who owns its descriptor and those of its datagram. */
export interface Left {
  readonly client: number;
  readonly identity: Identity;
  /** Its first datagram, or that after an answered connect; undefined if none has come. */
  readonly datagram: Datagram | SysError | undefined;
  /** The connect of the first descriptor was begun, and has to be released before anything else. */
  readonly begun: boolean;
  /** What its answer may be taught by; 0 where it can't be. */
  readonly question: number;
  readonly answered: Answered | undefined;
}

/** A connect that was answered; the socket is the caller's, too. */
export interface Answered {
  readonly socket: number;
  /** What the socket was armed with. */
  readonly isn: number;
  readonly logLevel: number;
}

const EAGAIN = 11;
const PLACES_BYTES = 32;
const LEFT_BYTES = 48 + 4 * MOST_DESCRIPTORS;
const LEFT = {
  ...{ client: 0, pid: 4, uid: 8, gid: 12, length: 16, begun: 20, question: 24 },
  ...{ answered: 28, socket: 32, isn: 36, logLevel: 40, count: 44, descriptors: 48 },
} as const;

function received(length: number, buffer: Buffer, descriptors: readonly number[]): Left['datagram'] {
  if (length === -EAGAIN) return undefined;
  try {
    return datagramOf(length, buffer, descriptors);
  } catch (error) {
    if (error instanceof SysError) return error;
    throw error;
  }
}

export class Prompt {
  readonly #prompt: unknown;
  readonly #left = Buffer.alloc(LEFT_BYTES);
  /** Becomes readable when there is something to hear. */
  readonly descriptor: number;

  constructor({ marks, notes, links, timestamps, blackholeTimeout, network }: Places) {
    const places = Buffer.alloc(PLACES_BYTES);
    [marks, notes, links, timestamps, blackholeTimeout].forEach((fd, i) => {
      places.writeInt32LE(fd, 4 * i);
    });
    places.writeBigUInt64LE(network, 24);
    this.#prompt = native.make(places);
    if (typeof this.#prompt === 'number') throw new SysError('epoll_create', -this.#prompt);
    this.descriptor = native.descriptor(this.#prompt);
  }

  /**
   * What was asked is to be answered like this whenever it, and its user, are the same: all destinations, this secret
   * (64 bytes), no payload protection. Without effect where something else was asked since.
   */
  teach(question: number, secret: Uint8Array, logLevel: number): void {
    checked('teach', native.teach(this.#prompt, question, logLevel, secret));
  }

  /** Nothing that was taught counts any more. */
  forget(): void {
    native.forget(this.#prompt);
  }

  /** How many of a user's clients it keeps. */
  clients(uid: number): number {
    return native.clients(this.#prompt, uid);
  }

  /** From now on so many of the user's clients are the caller's. */
  elsewhere(uid: number, clients: number): void {
    checked('realloc', native.elsewhere(this.#prompt, uid, clients));
  }

  /** How many connects were answered so far. */
  get answered(): number {
    return native.answered(this.#prompt);
  }

  /**
   * From now on does what `accept` and `hear` do as soon as there is something to do, without JavaScript: whoever watches
   * `listener` and `descriptor` hears only of clients that are left for them to return. The function ends that.
   */
  attend(listener: number, perUser: number): () => void {
    const attended = native.attend(this.#prompt, listener, perUser);
    if (typeof attended === 'number') throw new SysError('attend', -attended);
    return () => {
      native.ignore(attended);
    };
  }

  /**
   * Answers clients that wait at the listener; returns one that it can't answer, or undefined when there are no more.
   * Of one user there are no more than `perUser` at a time, with those elsewhere; further ones are returned before they
   * have said anything.
   */
  accept(listener: number, perUser: number, buffer: Buffer): Left | undefined {
    const result = checked('accept', native.accept(this.#prompt, listener, perUser, buffer, this.#left));
    return result === 0 ? undefined : this.#read(buffer);
  }

  /** The same for clients that were accepted, or whose connects were answered. */
  hear(buffer: Buffer): Left | undefined {
    return native.hear(this.#prompt, buffer, this.#left) === 0 ? undefined : this.#read(buffer);
  }

  /** A client that has said nothing for so long since it was accepted or answered; undefined if there is none. */
  overdue(milliseconds: number): Left | undefined {
    const result = native.overdue(this.#prompt, milliseconds, this.#left);
    return result === 0 ? undefined : this.#read(Buffer.alloc(0));
  }

  /** Its clients lose their connections. */
  close(): void {
    native.close(this.#prompt);
  }

  #read(buffer: Buffer): Left {
    const left = this.#left;
    const count = left.readInt32LE(LEFT.count);
    const descriptors = Array.from({ length: count }, (_, i) => left.readInt32LE(LEFT.descriptors + 4 * i));
    return {
      client: left.readInt32LE(LEFT.client),
      identity: {
        pid: left.readInt32LE(LEFT.pid),
        uid: left.readUInt32LE(LEFT.uid),
        gid: left.readUInt32LE(LEFT.gid),
      },
      datagram: received(left.readInt32LE(LEFT.length), buffer, descriptors),
      begun: left.readInt32LE(LEFT.begun) !== 0,
      question: left.readUInt32LE(LEFT.question),
      answered: left.readInt32LE(LEFT.answered) === 0 ? undefined : this.#answered(),
    };
  }

  #answered(): Answered {
    const left = this.#left;
    return {
      socket: left.readInt32LE(LEFT.socket),
      isn: left.readUInt32LE(LEFT.isn),
      logLevel: left.readUInt32LE(LEFT.logLevel),
    };
  }
}
