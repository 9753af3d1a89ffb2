import { setTimeout as sleep } from 'node:timers/promises';
import { decode, encode, MAX_MESSAGE_SIZE, type Message, ProtocolError } from '../spec/codec.ts';
import { type ActionName, actions, DEFAULT_SOCKET } from '../spec/messages.ts';
import * as channel from '../sys/channel.ts';
import { SysError } from '../sys/error.ts';
import { type Call, type Named, networkError, StealthError } from './errors.ts';
import { limited, orAborted, untilReady } from './patience.ts';

type Verdict = Message<'verdict'>;
type Request = Message<'connect' | 'send' | 'listen' | 'accepted'>;

/** As patient as libknockify.so. Milliseconds. */
const ANSWER_WITHIN = 5000;

/** Between attempts while the control process has more clients waiting than it accepts. Milliseconds. */
const CROWDED = 10;

const STEALTH_UNAVAILABLE = 93;
const ECONNRESET = 104;

/** What a session is for, and what ends it early. */
export interface Purpose {
  readonly call: Call;
  /** Path of the control process's socket. */
  readonly control: string;
  readonly signal: AbortSignal;
}

/** The path that was given, or else the one that programs under libknockify.so use. */
export function controlPath(given: string | undefined): string {
  return given ?? (process.env.KNOCK_CONTROL || DEFAULT_SOCKET);
}

/** Opens a session with the control process for one request, and closes it after `use`. Throws StealthError. */
export async function withSession<T>(
  purpose: Purpose,
  use: (session: ControlSession) => Promise<T>,
): Promise<T> {
  const fd = await inTime(purpose, (signal) => reach(purpose, signal));
  try {
    return await use(new ControlSession(fd, purpose));
  } finally {
    channel.close(fd);
  }
}

/** A connection to the control process: a request, its verdict, and the report of how the real call ended. */
export class ControlSession {
  readonly #fd: number;
  readonly #purpose: Purpose;

  constructor(fd: number, purpose: Purpose) {
    this.#fd = fd;
    this.#purpose = purpose;
  }

  /** Throws StealthError when there is no verdict. */
  async ask(request: Request, descriptors: readonly number[]): Promise<Verdict> {
    this.#send(request, descriptors);
    return await this.#verdict();
  }

  /** The same for a verdict that may only be `expected`: else throws StealthError, or the NetworkError that it names. */
  async expect(expected: ActionName, request: Request, fd: number, peer: Named): Promise<Verdict> {
    const { call } = this.#purpose;
    const verdict = await this.ask(request, [fd]);
    const action = actionOf(verdict);
    if (action === expected) return verdict;
    if (action !== 'refuse')
      throw new StealthError(call, `the control process answers '${action}' instead of '${expected}'`);
    if (verdict.error !== STEALTH_UNAVAILABLE) throw networkError(call, verdict.error, peer);
    throw new StealthError(call, textOf(verdict));
  }

  /**
   * Tells how the real call ended: an errno, or 0. Returns the reason if stealth and not the network is to blame. The
   * call itself is done: a control process that went away meanwhile changes nothing.
   */
  async report(error: number): Promise<string | undefined> {
    try {
      this.#send({ kind: 'report', error, waits: 1 });
      const verdict = await this.#verdict();
      return actionOf(verdict) === 'refuse' ? textOf(verdict) : undefined;
    } catch (problem) {
      if (problem instanceof StealthError) return undefined;
      throw problem;
    }
  }

  #send(message: Message, descriptors: readonly number[] = []): void {
    try {
      channel.send(this.#fd, encode(message), descriptors);
    } catch (error) {
      throw lost(this.#purpose, error);
    }
  }

  async #verdict(): Promise<Verdict> {
    const buffer = Buffer.alloc(MAX_MESSAGE_SIZE);
    await inTime(this.#purpose, (signal) => untilReady(this.#fd, 'readable', signal));
    try {
      const { data = new Uint8Array() } = channel.receive(this.#fd, buffer) ?? {};
      if (data.length === 0) throw new SysError('recvmsg', ECONNRESET);
      const message = decode(data);
      if (message.kind === 'verdict') return message;
      throw new ProtocolError(`a '${message.kind}' message is no answer`);
    } catch (error) {
      throw lost(this.#purpose, error);
    }
  }
}

export function actionOf({ action }: Verdict): ActionName | undefined {
  return actions.find(({ id }) => id === action)?.name;
}

function textOf({ text }: Verdict): string {
  return Buffer.from(text).toString() || 'the control process refuses';
}

async function inTime<T>(
  { call, control, signal }: Purpose,
  action: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = () => new StealthError(call, `no answer in time from the control process at ${control}`);
  return await limited({ ms: ANSWER_WITHIN, late, signal }, action);
}

async function reach({ call, control }: Purpose, signal: AbortSignal): Promise<number> {
  for (;;) {
    try {
      return channel.connect(control);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.code !== 'EAGAIN') throw unreachable(call, control, error);
    }
    await orAborted(sleep(CROWDED), signal);
  }
}

function unreachable(call: Call, control: string, { code }: SysError): StealthError {
  if (code === 'ENOENT' || code === 'ECONNREFUSED')
    return new StealthError(
      call,
      `no control process at ${control} (${code}): start 'knockify control' in this network namespace`,
    );
  return new StealthError(call, `can't reach the control process at ${control}: ${code}`);
}

function lost({ call, control }: Purpose, error: unknown): unknown {
  if (error instanceof SysError)
    return new StealthError(call, `lost the control process at ${control}: ${error.code}`);
  if (error instanceof ProtocolError)
    return new StealthError(call, `can't understand the control process at ${control}: ${error.message}`);
  return error;
}
