import { decode, encode, MAX_MESSAGE_SIZE, type Message } from '../spec/codec.ts';
import { DEFAULT_TIMEOUT } from '../spec/messages.ts';
import type { FollowedEvent, Status } from '../spec/status.ts';
import * as channel from '../sys/channel.ts';
import { SysError } from '../sys/error.ts';

/** Nobody answers at the control process's socket, or not with what was asked for. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  /** It may answer later: it is not there, or ended. */
  readonly absent: boolean;

  constructor(message: string, absent = false) {
    super(message);
    this.absent = absent;
  }
}

const ABSENT = ['ENOENT', 'ENOTDIR', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'];

function unreachable(socket: string, error: SysError): NoAnswer {
  if (ABSENT.includes(error.code))
    return new NoAnswer(`no control process at ${socket}; start one with 'knockify control'`, true);
  if (error.code === 'EACCES')
    return new NoAnswer(`${socket} is not for this user; ask its administrator for its group, or be root`);
  return new NoAnswer(`${socket}: ${error.message}`);
}

/** A connection to a control process. Throws NoAnswer. */
export class Asking {
  readonly #socket: string;
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(MAX_MESSAGE_SIZE);

  constructor(socket: string) {
    this.#socket = socket;
    this.#fd = this.#attempt(() => channel.connect(socket));
  }

  close(): void {
    channel.close(this.#fd);
  }

  /** Everything that this user may know. */
  async status(): Promise<Status> {
    let whole: Status | undefined;
    for (let from = 0; ; ) {
      this.#send({ kind: 'status', from });
      const told = await this.#answer();
      const part = JSON.parse(Buffer.from(told.text).toString()) as Status;
      whole = whole === undefined ? part : { ...whole, listeners: [...whole.listeners, ...part.listeners] };
      if (told.next <= from) return whole;
      from = told.next;
    }
  }

  /** Calls back with events, also with those of the last `age` milliseconds, until the control process ends. */
  follow(age: number, event: (event: FollowedEvent) => void): Promise<never> {
    this.#send({ kind: 'follow', age });
    return new Promise((_, reject) => {
      const unwatch = channel.watch(this.#fd, () => {
        try {
          for (let told = this.#receive(); told !== undefined; told = this.#receive())
            event(JSON.parse(Buffer.from(told.text).toString()) as FollowedEvent);
        } catch (error) {
          unwatch();
          reject(error);
        }
      });
    });
  }

  #answer(): Promise<Message<'told'>> {
    return new Promise((resolve, reject) => {
      const end = () => {
        unwatch();
        clearTimeout(timer);
      };
      const unwatch = channel.watch(this.#fd, () => {
        try {
          const told = this.#receive();
          if (told === undefined) return;
          end();
          resolve(told);
        } catch (error) {
          end();
          reject(error);
        }
      });
      const timer = setTimeout(() => {
        end();
        reject(
          new NoAnswer(
            `the control process at ${this.#socket} does not answer within ${DEFAULT_TIMEOUT} s; restart it`,
          ),
        );
      }, DEFAULT_TIMEOUT * 1000);
    });
  }

  #receive(): Message<'told'> | undefined {
    const datagram = this.#attempt(() => channel.receive(this.#fd, this.#buffer));
    if (datagram === undefined) return undefined;
    if (datagram.data.length === 0)
      throw new NoAnswer(`the control process at ${this.#socket} has ended`, true);
    const message = decode(datagram.data);
    if (message.kind === 'told') return message;
    if (message.kind === 'verdict') throw new NoAnswer(Buffer.from(message.text).toString());
    throw new NoAnswer(`the control process answered with '${message.kind}'`);
  }

  #send(message: Message): void {
    this.#attempt(() => channel.send(this.#fd, encode(message)));
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw error instanceof SysError ? unreachable(this.#socket, error) : error;
    }
  }
}
