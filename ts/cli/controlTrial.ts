import { closeSync, constants, openSync } from 'node:fs';
import { homedir, constants as systemConstants } from 'node:os';
import { join } from 'node:path';
import { secretsOf } from '../config/settings.ts';
import { decode, encode, MAX_MESSAGE_SIZE, type Message } from '../spec/codec.ts';
import { actions, SOCKADDR_SIZE } from '../spec/messages.ts';
import * as channel from '../sys/channel.ts';
import { AF_INET, close, SOCK_STREAM, socket } from '../sys/libc.ts';
import { bad, type Finding, failure, note, ok, type Side } from './finding.ts';
import { loadLocalSettings } from './localPolicy.ts';
import type { Environment } from './preload.ts';
import type { Trial } from './trial.ts';

type Verdict = Message<'verdict'>;

/** As long as libknockify.so waits, in milliseconds. */
const PATIENCE = 5_000;
/** 127.0.0.1, the discard port. Nothing is ever sent there. */
const PEER = Uint8Array.of(AF_INET, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);

/** Asks a running control process what libknockify.so would ask it, for sockets that then go no further. */
export class ControlTrial implements Trial {
  readonly #path: string;
  readonly #env: Environment;

  constructor(path: string, env: Environment) {
    this.#path = path;
    this.#env = env;
  }

  engine(): Finding {
    return note('not tried: the control process has its own');
  }

  client(): Promise<Finding> | Finding {
    const settings = loadLocalSettings(this.#env);
    for (const secret of secretsOf(settings)) secret.fill(0);
    if (settings.secret === undefined && settings.sections.length > 0)
      return note('not tried: it depends on the destination here');
    const peer = new Uint8Array(SOCKADDR_SIZE);
    peer.set(PEER);
    const address = { peer, peer_size: PEER.length };
    return this.#ask('client', (settings) => ({ kind: 'connect', ...settings, ...address }));
  }

  server(): Promise<Finding> {
    return this.#ask('server', (settings) => ({ kind: 'listen', ...settings }));
  }

  close(): void {}

  async #ask(side: Side, request: (settings: Settings) => Message): Promise<Finding> {
    const rc = openRc(this.#env);
    const scratch = socket(AF_INET, SOCK_STREAM, 0);
    try {
      const settings = { settings: settingsOf(this.#env), rc_path: Buffer.from(rc.path), rc_error: rc.error };
      const descriptors = rc.fd === undefined ? [scratch] : [scratch, rc.fd];
      const verdict = await converse(this.#path, encode(request(settings)), descriptors);
      const action = actions.find(({ id }) => id === verdict.action)?.name;
      if (action === 'proceed') return ok('the control process took a scratch socket');
      return bad(`the control process says ${action}: ${Buffer.from(verdict.text).toString()}`, undefined, [
        side,
      ]);
    } catch (error) {
      return failure(error, [side]);
    } finally {
      close(scratch);
      if (rc.fd !== undefined) closeSync(rc.fd);
    }
  }
}

interface Settings {
  readonly settings: Uint8Array;
  readonly rc_path: Uint8Array;
  readonly rc_error: number;
}

/** The secret as it is set here; the rest so that the scratch socket is a target, in auth mode. */
function settingsOf({ KNOCK_SECRET: secret }: Environment): Uint8Array {
  const texts = [
    'KNOCK_INTLEN=0',
    'KNOCK_TARGETS=0.0.0.0/0',
    ...(secret === undefined ? [] : [`KNOCK_SECRET=${secret}`]),
  ];
  return Buffer.from(texts.map((text) => `${text}\0`).join(''));
}

interface RcFile {
  /** Empty where there is none. */
  readonly path: string;
  readonly fd?: number;
  readonly error: number;
}

function openRc(env: Environment): RcFile {
  const path = env.KNOCK_RC || join(env.HOME || homedir(), '.knockrc');
  try {
    return { path, fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), error: 0 };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!env.KNOCK_RC && (code === 'ENOENT' || code === 'ENOTDIR')) return { path: '', error: 0 };
    const errno = (systemConstants.errno as Record<string, number>)[code ?? ''];
    return { path, error: errno ?? systemConstants.errno.EIO };
  }
}

/** One request, the file with the secret if it is asked for, and the verdict. Hangs up then. */
async function converse(path: string, request: Uint8Array, descriptors: readonly number[]): Promise<Verdict> {
  const fd = channel.connect(path);
  try {
    channel.send(fd, request, descriptors);
    const verdict = await answer(fd);
    if (actions.find(({ id }) => id === verdict.action)?.name !== 'need_file') return verdict;
    const file = openSync(Buffer.from(verdict.path), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      channel.send(fd, encode({ kind: 'file', error: 0 }), [file]);
    } finally {
      closeSync(file);
    }
    return await answer(fd);
  } finally {
    channel.close(fd);
  }
}

async function answer(fd: number): Promise<Verdict> {
  const buffer = Buffer.alloc(MAX_MESSAGE_SIZE);
  await readable(fd);
  const datagram = channel.receive(fd, buffer);
  if (datagram === undefined || datagram.data.length === 0) throw new Error('the control process hung up');
  for (const unwanted of datagram.descriptors) channel.close(unwanted);
  const message = decode(datagram.data);
  if (message.kind !== 'verdict') throw new Error(`the control process answered with '${message.kind}'`);
  return message;
}

function readable(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const unwatch = channel.watch(fd, () => {
      clearTimeout(timer);
      unwatch();
      resolve();
    });
    const timer = setTimeout(() => {
      unwatch();
      reject(new Error(`the control process does not answer within ${PATIENCE / 1000} s; restart it`));
    }, PATIENCE);
  });
}
