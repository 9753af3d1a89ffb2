import { ConfigError } from '../config/error.ts';
import { buildListenerPolicy, buildPolicy, type Policy } from '../config/policy.ts';
import { type Settings, secretsOf as settingsSecrets } from '../config/settings.ts';
import { type Answered, EngineError, type Sight } from '../engine/engine.ts';
import type { Message } from '../spec/codec.ts';
import { type ActionName, actions } from '../spec/messages.ts';
import { SysError } from '../sys/error.ts';
import { FileError, type OpenFile } from '../sys/files.ts';
import {
  applicationSettings,
  isConstant,
  leavesAlone,
  openable,
  openedRc,
  openedSecret,
  type Request,
  settingsOf,
} from './application.ts';
import { Connecting } from './connecting.ts';
import { TransitionError } from './delayed.ts';
import { Listening } from './listening.ts';
import { readNote, secretsOf } from './note.ts';
import { setOption } from './options.ts';
import { type Credentials, type Dealings, type Surroundings, whoIs } from './surroundings.ts';
import { notAdmitted, refuse, STEALTH_UNAVAILABLE, type Verdict, verdict } from './verdict.ts';

/** A request that waits for the file with its secret. */
interface Waiting {
  readonly path: string;
  readonly resume: (file: Uint8Array) => Verdict;
}

interface Seen {
  readonly socket: number;
  readonly sight: Sight;
}

/** Descriptors that each message may bring. */
const MOST_DESCRIPTORS: Partial<Record<Message['kind'], number>> = {
  ...{ connect: 2, listen: 2, send: 1, accepted: 2, file: 1, option: 1 },
};

/** Verdicts after which the session goes on: to a file, or to the report of a real call. */
const CALLS: readonly ActionName[] = ['proceed', 'flush'];
const OPEN: readonly ActionName[] = [...CALLS, 'need_file'];

const PROCEED = actions.find(({ name }) => name === 'proceed')?.id;

function isOneOf(names: readonly ActionName[], { action }: Verdict): boolean {
  return names.some((name) => actions.some(({ id, name: other }) => other === name && id === action));
}

type NoRequest = Message<'verdict' | 'told' | 'status' | 'follow'>;

/** Ours to send, or no application's. */
function isNoRequest(message: Message): message is NoRequest {
  return ['verdict', 'told', 'status', 'follow'].includes(message.kind);
}

/** Errors that are somebody's to mend; any other is a mistake of ours, and the log wants its trace. */
const EXPECTED = [ConfigError, EngineError, SysError, FileError, TransitionError, RangeError] as const;

/**
 * One connection of one application: a request, its verdict, and where the application then makes a real call, the
 * report of how that ended. Owns the descriptors that it is handed until `end`. Nothing here blocks.
 */
export class Session {
  readonly #around: Surroundings;
  readonly #client: Credentials;
  readonly #tell: (verdict: Verdict) => void;
  readonly #release: (fd: number) => void;
  readonly #held: number[] = [];
  /** What this session read of an application's secret. */
  readonly #secrets: Uint8Array[] = [];
  #waiting: Waiting | undefined;
  #stopReading: (() => void) | undefined;
  #dealings: Dealings | undefined;
  #asked = false;
  #calling = false;
  #over = false;
  #lesson: Policy | undefined;

  /** `answer` sends a verdict that could not be returned at once; `release` closes a descriptor. */
  constructor(
    around: Surroundings,
    client: Credentials,
    answer: (verdict: Verdict) => void,
    release: (fd: number) => void,
  ) {
    this.#around = around;
    this.#client = client;
    this.#tell = answer;
    this.#release = release;
  }

  /** Takes a message and its descriptors; returns the answer, if there is one now. Never throws. */
  receive(message: Message, descriptors: readonly number[]): Verdict | undefined {
    this.#held.push(...descriptors);
    const verdict = this.#decided(message.kind === 'report', () => this.#handle(message, descriptors));
    return message.kind === 'report' && message.waits === 0 ? undefined : verdict;
  }

  /** What the connect was armed by, if one with the same settings is to be armed by the same. Valid until `end`. */
  get lesson(): Policy | undefined {
    return this.#lesson;
  }

  /** Nothing more is to come, once what `receive` returned or `answer` got is sent. */
  get over(): boolean {
    return this.#over;
  }

  /** Goes on with a connect that was answered promptly. */
  adopt(answered: Answered, overdue: boolean): void {
    this.#held.push(answered.socket);
    this.#asked = true;
    this.#calling = true;
    this.#connecting().adopt(answered, overdue);
  }

  /** The application makes a real call, and reports how it ended when it has. */
  get calling(): boolean {
    return this.#calling;
  }

  /** The application hung up. */
  end(): void {
    this.#dealings?.end();
    this.#letGo();
    for (const secret of this.#secrets.splice(0)) secret.fill(0);
  }

  /** A socket that is held here stays in the kernel though the application has closed it. */
  #letGo(): void {
    this.#stopReading?.();
    this.#stopReading = undefined;
    for (const fd of this.#held.splice(0)) this.#release(fd);
  }

  #decided(last: boolean, decide: () => Verdict | undefined): Verdict | undefined {
    let verdict: Verdict | undefined;
    try {
      verdict = decide();
    } catch (error) {
      verdict = this.#failed(error);
    }
    this.#calling = verdict !== undefined && isOneOf(CALLS, verdict);
    this.#over ||= last || (verdict !== undefined && !isOneOf(OPEN, verdict));
    if (this.#over) this.#letGo();
    return verdict;
  }

  #handle(message: Message, descriptors: readonly number[]): Verdict | undefined {
    const [socket, second] = descriptors;
    const { uid } = this.#client;
    if (!this.#around.admits(uid)) return notAdmitted(uid);
    if (descriptors.length > (MOST_DESCRIPTORS[message.kind] ?? 0))
      return refuse(`a '${message.kind}' message came with ${descriptors.length} descriptors`);
    if (message.kind === 'report') return this.#dealings?.report(message.error) ?? verdict('pass');
    if (message.kind === 'file') return this.#file(message.error, socket);
    if (isNoRequest(message) || this.#asked) return refuse(`a '${message.kind}' message is out of order`);
    this.#asked = true;
    if (socket === undefined) return refuse(`a '${message.kind}' message came without its socket`);
    if (message.kind === 'send') return this.#connecting().send(socket, message.payload);
    if (message.kind === 'accepted') {
      if (second === undefined) return refuse("an 'accepted' message came without its listener");
      return this.#listening().accepted(socket, second);
    }
    if (message.kind === 'option') return setOption(this.#around.engine, socket, message);
    const { engine } = this.#around;
    const sight = engine.look(socket);
    const { program, ...others } = sight.noted ? readNote(engine, socket) : {};
    this.#secrets.push(...secretsOf({ program, ...others }));
    if (program !== undefined && message.kind === 'listen')
      return this.#listening().listenAsTold(socket, program);
    if (program !== undefined && message.kind === 'connect')
      return this.#connecting().connectAsTold(socket, sight, message, program);
    this.#secrets.push(message.settings);
    const rc = openedRc(message, second);
    if (rc === undefined) return this.#configured(message, { socket, sight }, undefined);
    this.#read(rc.fd, rc.name, (file) =>
      this.#configured(message, { socket, sight: engine.look(socket) }, file),
    );
    return undefined;
  }

  #configured(request: Request, seen: Seen, rc: OpenFile | undefined): Verdict {
    const { socket, sight } = seen;
    const all = applicationSettings(request, rc, this.#client);
    this.#secrets.push(...settingsSecrets(all));
    const settings = settingsOf(request, all);
    if (request.kind === 'connect' && leavesAlone(settings, request))
      return this.#connecting().leaveAlone(socket, sight);
    if (settings.secret?.kind !== 'file') return this.#request(request, seen, settings, undefined);
    const { path, pathBytes } = openable(settings.secret);
    const resume = (file: Uint8Array) =>
      this.#request(request, { socket, sight: this.#around.engine.look(socket) }, settings, file);
    this.#waiting = { path, resume };
    return verdict('need_file', { path: pathBytes });
  }

  #file(error: number, fd: number | undefined): Verdict | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) return refuse("a 'file' message is out of order");
    const { path, resume } = waiting;
    this.#read(openedSecret(path, error, fd), path, ({ bytes }) => {
      this.#secrets.push(bytes);
      return resume(bytes);
    });
    return undefined;
  }

  /** The verdict follows when the file is read. */
  #read(fd: number, name: string, decide: (file: OpenFile) => Verdict): void {
    this.#held.splice(this.#held.indexOf(fd), 1);
    const { uid } = this.#client;
    this.#stopReading = this.#around.readFile({ fd, name, uid }, (file) => {
      this.#stopReading = undefined;
      const verdict = this.#decided(false, () => decide(file()));
      if (verdict !== undefined) this.#tell(verdict);
    });
  }

  #request(
    request: Request,
    { socket, sight }: Seen,
    settings: Settings,
    file: Uint8Array | undefined,
  ): Verdict {
    const { ownPolicy, secrets } = this.#around;
    if (request.kind === 'listen') {
      const policy = buildListenerPolicy(settings, file, ownPolicy, secrets);
      this.#own(policy.secret);
      return this.#listening().listen(socket, policy);
    }
    const policy = buildPolicy(settings, file, ownPolicy);
    this.#own(policy.secret);
    const connected = this.#connecting().connect(socket, sight, request, policy);
    if (connected.action === PROCEED && isConstant(request, settings, policy)) this.#lesson = policy;
    return connected;
  }

  /** To be wiped at the end, unless it is the control process's. */
  #own(secret: Uint8Array | undefined): void {
    if (secret !== undefined && secret !== this.#around.ownPolicy?.secret) this.#secrets.push(secret);
  }

  #connecting(): Connecting {
    const connecting = new Connecting(this.#around, this.#client);
    this.#dealings = connecting;
    return connecting;
  }

  #listening(): Listening {
    const listening = new Listening(this.#around, this.#client, (verdict) => {
      this.#over = true;
      this.#letGo();
      this.#tell(verdict);
    });
    this.#dealings = listening;
    return listening;
  }

  #failed(error: unknown): Verdict {
    const { log } = this.#around;
    // The network's own refusals (unreachable, no address left) are the application's to see.
    if (error instanceof SysError && error.operation === 'connect')
      return verdict('refuse', { error: error.errno });
    const text = error instanceof Error ? error.message : String(error);
    const expected = EXPECTED.some((known) => error instanceof known);
    const detail = expected ? text : error instanceof Error ? error.stack : text;
    log.error(`${whoIs(this.#client)}: ${detail}`, this.#client);
    return verdict('refuse', {
      text: expected ? text : `internal error: ${text}`,
      error: STEALTH_UNAVAILABLE,
    });
  }
}
