import { closeSync, readSync, writeSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { clsact } from '../../ts/engine/stock/clsact.ts';
import { StockEngine } from '../../ts/engine/stock/stockEngine.ts';
import { accept, listen as offer, connect as reach, receive, send } from '../../ts/sys/channel.ts';
import * as libc from '../../ts/sys/libc.ts';
import { prompting } from './prompting.ts';

/** Runs inside a network namespace, does what the test asks for, one call after another, and answers. */

const SOCK_NONBLOCK = 0o4000;

let engine: StockEngine | undefined;
const servers = new Map<number, { server: Server; accepted: Socket[] }>();

function fdOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}

function busy(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EAGAIN';
}

/** What a program does with its sockets, and a process with its engine. */
export const app = {
  /** With `way`, as on a kernel that has no other. */
  startEngine(way?: 'clsact'): void {
    engine = new StockEngine(undefined, way === undefined ? undefined : [clsact]);
  },
  stopEngine(purge: boolean): void {
    engine?.close({ purge });
    engine = undefined;
  },
  claimSlots(folder: string, hasSecrets: boolean): boolean | undefined {
    return engine?.secrets.claim(folder, hasSecrets);
  },
  fillSlot(slot: number, secret: Uint8Array, until?: number): void {
    engine?.secrets.write(slot, secret, until);
  },
  limitSlot(slot: number, until?: number): void {
    engine?.secrets.limit(slot, until);
  },
  clearSlot(slot: number): void {
    engine?.secrets.clear(slot);
  },
  readSlot(slot: number): Uint8Array | undefined {
    return engine?.secrets.read(slot);
  },
  socket(family: number, protocol = 0): number {
    return libc.socket(family, libc.SOCK_STREAM | SOCK_NONBLOCK, protocol);
  },
  close(fd: number): void {
    closeSync(fd);
  },
  /** Returns what does not fit a socket's buffer as not written. */
  write(fd: number, bytes: Uint8Array): number {
    try {
      return writeSync(fd, bytes);
    } catch (error) {
      if (busy(error)) return 0;
      throw error;
    }
  },
  /** Whatever has arrived, undefined if nothing has, empty at the end. */
  read(fd: number): Uint8Array | undefined {
    const bytes = Buffer.alloc(65536);
    try {
      return Uint8Array.from(bytes.subarray(0, readSync(fd, bytes)));
    } catch (error) {
      if (busy(error)) return undefined;
      throw error;
    }
  },
  /** Calls listen(). An echo server answers; the other leaves accepted sockets alone. */
  async listen(fd: number, kind: 'echo' | 'idle'): Promise<void> {
    const accepted: Socket[] = [];
    const server = createServer({ pauseOnConnect: kind === 'idle' }, (socket) => {
      accepted.push(socket);
      socket.on('error', () => {});
      if (kind === 'echo') socket.pipe(socket);
    });
    servers.set(fd, { server, accepted });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ fd }, resolve);
    });
  },
  /** Descriptors of the connections that a listener accepted. */
  accepted(fd: number): number[] {
    return (servers.get(fd)?.accepted ?? []).map(fdOf);
  },
  stopListening(fd: number): void {
    const entry = servers.get(fd);
    entry?.server.close();
    for (const socket of entry?.accepted ?? []) socket.destroy();
    servers.delete(fd);
  },
  /** Hands a descriptor to whoever takes it at `path`. */
  give(path: string, fd: number): void {
    const channel = reach(path);
    send(channel, Buffer.from('fd'), [fd]);
    closeSync(channel);
  },
  openGift(path: string): number {
    return offer(path);
  },
  takeGift(listener: number): number {
    const client = accept(listener);
    const gift = client && receive(client.fd, Buffer.alloc(16))?.descriptors[0];
    if (client) closeSync(client.fd);
    if (gift === undefined) throw new Error('no descriptor came');
    return gift;
  },
  setUid(id: number): void {
    process.setgroups?.([]);
    process.setgid?.(id);
    process.setuid?.(id);
  },
};

export const prompt = prompting(() => engine?.prompt);

export type App = typeof app;
/** What answers: the engine, libc or the program. */
export interface Targets {
  readonly app: App;
  readonly engine: StockEngine;
  readonly libc: typeof libc;
  readonly prompt: ReturnType<typeof prompting>;
}

interface Request {
  readonly id: number;
  readonly target: keyof Targets;
  readonly method: string;
  readonly values: readonly unknown[];
}

async function perform({ target, method, values }: Request): Promise<unknown> {
  const object = { app, engine, libc, prompt }[target] as unknown as Record<
    string,
    (...v: readonly unknown[]) => unknown
  >;
  const action = object[method];
  if (action === undefined) throw new Error(`no ${target}.${method}`);
  return action.apply(object, [...values]);
}

process.on('message', (request: Request) => {
  perform(request).then(
    (result) => process.send?.({ id: request.id, result }),
    (error: Error) => process.send?.({ id: request.id, error: { name: error.name, message: error.message } }),
  );
});
process.on('disconnect', () => process.exit(0));
