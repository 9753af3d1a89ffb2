import type { Left, Prompt } from '../../ts/engine/engine.ts';
import { decode, encode, MAX_MESSAGE_SIZE, type Message } from '../../ts/spec/codec.ts';
import * as channel from '../../ts/sys/channel.ts';

/** Runs inside a worker: clients of a control process that consists of nothing but what is answered promptly. */

/** What a client has got so far, and whether it was left. */
export interface Outcome {
  readonly client: number;
  readonly left: 'no' | 'as it came' | 'begun';
  /** That it was left with. */
  readonly question: number;
  readonly verdict: Message | undefined;
}

/** A connect that has to go on without promptness. */
export interface Unsettled {
  readonly socket: number;
  readonly isn: number;
  readonly logLevel: number;
  readonly uid: number;
  readonly report: Message | 'nothing' | 'the end';
}

const buffer = Buffer.alloc(MAX_MESSAGE_SIZE);
const LOG_LEVEL = 2;

function heard(client: number): Message | undefined {
  if (client < 0) return undefined;
  const bytes = channel.receive(client, Buffer.alloc(MAX_MESSAGE_SIZE))?.data;
  return bytes === undefined || bytes.length === 0 ? undefined : decode(bytes);
}

function discard(left: Left): void {
  if (left.datagram !== undefined && 'descriptors' in left.datagram)
    for (const fd of left.datagram.descriptors) channel.release(fd);
  channel.hangUp(left.client);
}

function unsettled({ answered = { socket: -1, isn: 0, logLevel: 0 }, identity, datagram }: Left): Unsettled {
  const data = datagram !== undefined && 'data' in datagram ? datagram.data : undefined;
  const report = data === undefined ? 'nothing' : data.length === 0 ? 'the end' : decode(data);
  return { ...answered, uid: identity.uid, report };
}

/** `made` gives the engine's. */
export function prompting(made: () => Prompt | undefined) {
  const prompt = (): Prompt => {
    const one = made();
    if (one === undefined) throw new Error('the engine answers nothing promptly');
    return one;
  };
  return {
    listen: (path: string): number => channel.listen(path),
    /** A new client asks for a connect of `fd`. With a lesson, that is taught where the client is left. */
    ask(
      listener: number,
      path: string,
      message: Message<'connect'>,
      fd: number,
      lesson?: Uint8Array,
    ): Outcome {
      const client = channel.connect(path);
      channel.send(client, encode(message), [fd]);
      return this.answer(listener, client, lesson);
    },
    /** Without a listener: of clients that were accepted before. */
    answer(listener: number, client: number, lesson?: Uint8Array, most = 1000): Outcome {
      const left = listener < 0 ? prompt().hear(buffer) : prompt().accept(listener, most, buffer);
      if (left !== undefined && lesson !== undefined) prompt().teach(left.question, lesson, LOG_LEVEL);
      if (left !== undefined) discard(left);
      return {
        client,
        question: left?.question ?? 0,
        left: left === undefined ? 'no' : left.begun ? 'begun' : 'as it came',
        verdict: heard(client),
      };
    },
    /** A client that says nothing until `say`. */
    silent: (path: string): number => channel.connect(path),
    say: (client: number, message: Message<'connect'>, fd: number): void =>
      channel.send(client, encode(message), [fd]),
    teachLate: (question: number, lesson: Uint8Array): void => prompt().teach(question, lesson, LOG_LEVEL),
    answered: (): number => prompt().answered,
    elsewhere: (uid: number, clients: number): void => prompt().elsewhere(uid, clients),
    clients: (uid: number): number => prompt().clients(uid),
    /** A client reports; returns what was left, and what the client heard. */
    report(
      client: number,
      error: number,
      waits: 0 | 1,
    ): { left: Unsettled | undefined; verdict?: Message | undefined } {
      channel.send(client, encode({ kind: 'report', error, waits }));
      return this.hear(client);
    },
    hangUp(client: number): { left: Unsettled | undefined } {
      channel.close(client);
      return this.hear(undefined);
    },
    hear(client: number | undefined): { left: Unsettled | undefined; verdict?: Message | undefined } {
      const left = prompt().hear(buffer);
      if (left !== undefined) discard(left);
      return { left: left && unsettled(left), verdict: client === undefined ? undefined : heard(client) };
    },
    overdue(milliseconds: number): Unsettled | undefined {
      const left = prompt().overdue(milliseconds);
      if (left !== undefined) discard(left);
      return left && unsettled(left);
    },
  };
}
