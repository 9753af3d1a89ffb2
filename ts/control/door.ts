import type { Left, Prompt } from '../engine/engine.ts';
import { MAX_MESSAGE_SIZE } from '../spec/codec.ts';
import * as channel from '../sys/channel.ts';
import type { Surroundings } from './surroundings.ts';

/** How long to leave the queue alone when descriptors have run out. Milliseconds. */
const BREATHER = 100;

/** How many clients are let in before those that are in get their turn. */
const ACCEPTS = 32;

/** A client that was accepted or answered promptly, and says nothing for so long, is a session's; looked for so often. Milliseconds. */
const OVERDUE_AFTER = 1000;
const LOOK_EVERY = 500;

/** What comes with a client that brings nothing. */
export const NOTHING = { begun: false, question: 0 } as const;

/** What is behind the door. */
interface Inside {
  /** How many clients of a user there may be at a time. */
  readonly perUser: number;
  /** Somebody comes in. What he brings along is not there any more once this has returned. */
  readonly enter: (left: Left) => void;
}

/** Where clients come in: those that are not answered promptly, wherever the engine does that, and all of them elsewhere. */
export class Door {
  readonly #listener: number;
  readonly #around: Surroundings;
  readonly #perUser: number;
  readonly #enter: (left: Left) => void;
  readonly #buffer = Buffer.alloc(MAX_MESSAGE_SIZE);
  #unwatch: (() => void) | undefined;
  #breather: NodeJS.Timeout | undefined;
  #unhear: (() => void) | undefined;
  #looking: NodeJS.Timeout | undefined;

  /** `listener` is a listening channel descriptor; the door owns it from here on. */
  constructor(listener: number, around: Surroundings, { perUser, enter }: Inside) {
    this.#listener = listener;
    this.#around = around;
    this.#perUser = perUser;
    this.#enter = enter;
    this.#unwatch = channel.watch(listener, () => this.#accept());
    const { prompt } = around;
    if (prompt === undefined) return;
    const unwatch = channel.watch(prompt.descriptor, () => this.#hear(prompt));
    const ignore = prompt.attend(listener, perUser);
    this.#unhear = () => {
      ignore();
      unwatch();
    };
    this.#looking = setInterval(() => this.#look(prompt), LOOK_EVERY).unref();
  }

  close(): void {
    clearTimeout(this.#breather);
    clearInterval(this.#looking);
    this.#unhear?.();
    this.#unwatch?.();
    this.#unwatch = undefined;
    channel.close(this.#listener);
  }

  #accept(): void {
    try {
      for (let turn = 0; turn < ACCEPTS; turn++) {
        const next = this.#next();
        if (next === undefined) return;
        this.#enter(next);
      }
    } catch (error) {
      this.#around.log.error(`accepting a client: ${error instanceof Error ? error.message : error}`);
      this.#pause();
    }
  }

  /** A client that was not answered promptly. */
  #next(): Left | undefined {
    const { prompt } = this.#around;
    if (prompt !== undefined) return prompt.accept(this.#listener, this.#perUser, this.#buffer);
    const next = channel.accept(this.#listener);
    return (
      next && {
        client: next.fd,
        identity: next.identity,
        datagram: undefined,
        answered: undefined,
        ...NOTHING,
      }
    );
  }

  #hear(prompt: Prompt): void {
    for (let left = prompt.hear(this.#buffer); left; left = prompt.hear(this.#buffer)) this.#enter(left);
  }

  #look(prompt: Prompt): void {
    for (let left = prompt.overdue(OVERDUE_AFTER); left; left = prompt.overdue(OVERDUE_AFTER))
      this.#enter(left);
  }

  /** Out of descriptors, the listener stays readable: waiting in the loop would spin. */
  #pause(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#breather = setTimeout(() => {
      this.#unwatch = channel.watch(this.#listener, () => this.#accept());
    }, BREATHER);
  }
}
