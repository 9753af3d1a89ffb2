import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Peer } from '../../ts/engine/engine.ts';
import { parseAddress } from '../../ts/stealth/address.ts';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { AF_INET, AF_INET6 } from '../../ts/sys/libc.ts';
import { hasTcx } from '../../ts/sys/tcx.ts';
import type { Family, Host } from '../lab/netns.ts';
import { patient } from '../lab/slowness.ts';
import type { Targets } from './worker.ts';

type Remote<T> = {
  readonly [K in keyof T as T[K] extends (...values: never[]) => unknown ? K : never]: T[K] extends (
    ...values: infer V
  ) => infer R
    ? (...values: V) => Promise<Awaited<R>>
    : never;
};

/** A process inside a namespace that does what it is told. */
export type Worker = { readonly [T in keyof Targets]: Remote<Targets[T]> } & {
  readonly pid: number;
  /** As if it had never existed from here on: SIGKILL. */
  kill(): Promise<void>;
  /** Lets it end by itself. */
  stop(): Promise<void>;
};

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
}

/** Those in which this kernel has filters. */
export const WAYS = hasTcx() ? (['tcx', 'clsact'] as const) : (['clsact'] as const);
export type Way = (typeof WAYS)[number];

/** What `startEngine` has to be told. */
export function forced(way: Way): 'clsact' | undefined {
  return way === 'clsact' ? way : undefined;
}

const WORKER = fileURLToPath(new URL('worker.ts', import.meta.url));
/** The same as JavaScript, for machines on which it takes a minute to make that. */
const COMPILED = process.env.KNOCKIFY_WORKER;

/** `prefix`: a command that runs the rest of its command line, such as setpriv. */
export async function startWorker(host: Host, prefix: readonly string[] = []): Promise<Worker> {
  const node = [process.execPath, ...(COMPILED === undefined ? ['--import', 'tsx', WORKER] : [COMPILED])];
  const child = spawn('ip', ['netns', 'exec', host.namespace, ...prefix, ...node], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
  });
  const ended = once(child, 'exit');
  const call = caller(child);
  const target = (name: string) =>
    new Proxy(
      {},
      {
        get:
          (_, method) =>
          (...values: unknown[]) =>
            call(name, String(method), values),
      },
    );
  return {
    app: target('app'),
    engine: target('engine'),
    libc: target('libc'),
    prompt: target('prompt'),
    pid: child.pid ?? 0,
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
    stop: async () => {
      if (child.connected) child.disconnect();
      await ended;
    },
  } as unknown as Worker;
}

function caller(child: ChildProcess) {
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let calls = 0;
  child.on('message', ({ id, result, error }: Answer) => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (error) call?.reject(Object.assign(new Error(error.message), { name: error.name }));
    else call?.resolve(result);
  });
  child.on('exit', (code, signal) => {
    for (const call of waiting.values()) call.reject(new Error(`the worker ended: ${code ?? signal}`));
  });
  return (target: string, method: string, values: readonly unknown[]) =>
    new Promise<unknown>((resolve, reject) => {
      const id = calls++;
      waiting.set(id, { resolve, reject });
      child.send({ id, target, method, values }, (error) => error && reject(error));
    });
}

export const FAMILY: Readonly<Record<Family, number>> = { ipv4: AF_INET, ipv6: AF_INET6, mapped: AF_INET6 };

/** `struct sockaddr` bytes for a socket of the family's kind. */
export function sockaddr(family: Family, address: string, port: number): Uint8Array {
  const bytes = Buffer.alloc(family === 'ipv4' ? 16 : 28);
  bytes.writeUInt16LE(FAMILY[family]);
  bytes.writeUInt16BE(port, 2);
  bytes.set(parseAddress(address) ?? [], family === 'ipv4' ? 4 : 8);
  return bytes;
}

export function peerAt(host: Host, family: Family, port: number): Peer {
  const address = host.addresses[family];
  return { ...destinationOf(address, port), sockaddr: sockaddr(family, address, port) };
}

/** A guarded listener on every address of the worker's machine. */
export async function startGuarded(
  worker: Worker,
  family: Family,
  port: number,
  secret: Uint8Array | undefined,
  { protectedLength = 0, kind = 'echo' as 'echo' | 'idle', named = false } = {},
): Promise<number> {
  const fd = await worker.app.socket(FAMILY[family]);
  await worker.libc.setInt(fd, 'SO_REUSEADDR', 1);
  await worker.libc.bind(fd, sockaddr(family, family === 'ipv4' ? '0.0.0.0' : '::', port));
  await worker.engine.guard(fd, { secret, named, protectedLength });
  await worker.app.listen(fd, kind);
  return fd;
}

/** Polls `look` until it returns something. */
export async function eventually<T>(
  look: () => Promise<T | undefined>,
  what: string,
  timeout = patient(8_000),
): Promise<T> {
  for (const deadline = Date.now() + timeout; ; await sleep(10)) {
    const seen = await look();
    if (seen !== undefined) return seen;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeout} ms`);
  }
}

/** Writes everything, however slowly it is taken. */
export async function writeAll(worker: Worker, fd: number, bytes: Uint8Array): Promise<void> {
  let written = 0;
  await eventually(async () => {
    written += await worker.app.write(fd, bytes.subarray(written));
    return written === bytes.length || undefined;
  }, 'writing');
}

/** Reads exactly `length` bytes; fewer at the end of the stream. */
export async function readAll(worker: Worker, fd: number, length: number): Promise<Buffer> {
  let got = Buffer.alloc(0);
  return eventually(async () => {
    const bytes = await worker.app.read(fd);
    if (bytes !== undefined) got = Buffer.concat([got, bytes]);
    return got.length >= length || bytes?.length === 0 ? got : undefined;
  }, `reading ${length} bytes`);
}

const ESTABLISHED = 1;
const CLOSE = 7;

/** Waits for the end of a non-blocking connect(); 0 or its errno. */
export async function outcomeOf(worker: Worker, fd: number): Promise<number> {
  return eventually(async () => {
    const state = (await worker.libc.getBytes(fd, 'TCP_INFO', 1))[0];
    if (state === ESTABLISHED) return 0;
    return state === CLOSE ? await worker.libc.getUint(fd, 'SO_ERROR') : undefined;
  }, 'connecting');
}
