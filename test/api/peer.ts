/** One end of a connection by the public API, in a process of its own: told by JSON what to do, it answers in JSON. */
import { readdirSync, readlinkSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { isMainThread, Worker } from 'node:worker_threads';
import { connectStealth, listenStealth } from '../../ts/api/index.ts';
import type { Connects, Serves, Task } from './tasks.ts';

const print = (line: object) => console.log(JSON.stringify(line));

/** Of an error, what a program can rely on. */
function fields(error: unknown): object {
  const { name, code, syscall, address, port, message } = error as NetworkLike;
  return { name, code, syscall, address, port, message };
}

type NetworkLike = NodeJS.ErrnoException & { readonly address?: string; readonly port?: number };

const bytesOf = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(text));

/** Unlike an iterator's end, the end of this leaves the other direction open. */
function everything(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => resolve(Buffer.concat(chunks).toString()));
    socket.on('error', reject);
  });
}

/** The sockets that this process has open. */
function sockets(): Set<string> {
  const nameOf = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the descriptor of the listing itself
    }
  };
  return new Set(
    readdirSync('/proc/self/fd')
      .map(nameOf)
      .filter((name) => name.startsWith('socket:')),
  );
}

async function connect({ to, write = '', exitAfter }: Connects): Promise<void> {
  if (exitAfter !== undefined) setTimeout(() => process.exit(), exitAfter);
  const before = sockets();
  for (const { payload, abortAfter, ...options } of to) {
    const signal = abortAfter === undefined ? undefined : AbortSignal.timeout(abortAfter);
    try {
      const socket = await connectStealth({ ...options, payload: bytesOf(payload), signal });
      const { connecting, readyState, remoteAddress, remotePort, localAddress, localPort } = socket;
      socket.end(write);
      const got = await everything(socket);
      print({ connecting, readyState, remoteAddress, remotePort, localAddress, localPort, got });
    } catch (error) {
      print({ error: fields(error) });
    }
  }
  // tsx's own, which were there before, may go meanwhile.
  print({ left: [...sockets()].filter((socket) => !before.has(socket)).length });
}

/** Sends back to each connection what it sends, and tells of it. */
function echo(): Server {
  return createServer((socket) => {
    print({ connection: socket.remoteAddress });
    everything(socket).then(
      (got) => print({ got }),
      (error) => print({ error: fields(error) }),
    );
    socket.pipe(socket);
  });
}

/** Answers every request with the path that was asked for. */
function web(): Server {
  return createHttpServer((request, response) => response.end(`path ${request.url}\n`));
}

async function serve({ kind, on }: Serves): Promise<void> {
  const servers: Server[] = [];
  for (const options of on) {
    const server = kind === 'http' ? web() : echo();
    try {
      await listenStealth(server, options);
      servers.push(server);
      print({ listening: server.address() });
    } catch (error) {
      print({ error: fields(error), listening: server.listening });
    }
  }
  process.on('SIGTERM', () => {
    for (const server of servers) server.close(() => print({ closed: true }));
  });
}

/** tsx leaves worker threads alone. */
function again(): void {
  const register = `const { register } = await import(${JSON.stringify(import.meta.resolve('tsx/esm/api'))}); register();`;
  const source = `(async () => { ${register} await import(${JSON.stringify(import.meta.url)}); })();`;
  new Worker(source, { eval: true, argv: process.argv.slice(2) });
}

const task = JSON.parse(process.argv[2] ?? '') as Task;
if (task.role === 'serve') await serve(task);
else if (task.threaded && isMainThread) again();
else await connect(task);
