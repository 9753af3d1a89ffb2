import { createServer, type Server, type Socket } from 'node:net';
import { type Endpoint, endpointOf } from '../../api/endpoint.ts';
import * as channel from '../../sys/channel.ts';
import { SysError } from '../../sys/error.ts';
import { AF_INET6, getBytes } from '../../sys/libc.ts';
import * as tcp from '../../sys/tcp.ts';
import { type Arrival, answer, LONGEST_LINE } from './exchange.ts';
import { readSavedSyn } from './savedSyn.ts';

/** Longest headers that TCP_SAVED_SYN returns. */
const SAVED_SYN_BYTES = 1024;
const BACKLOG = 16;
/** Anybody can connect: who says nothing is not waited for. Milliseconds. */
const PATIENCE = 10_000;
const NO_IPV6 = ['EAFNOSUPPORT', 'EADDRNOTAVAIL'];

export interface Heard {
  readonly from: string;
  /** Undefined: whoever it was does not have the secret. */
  readonly arrival: Arrival | undefined;
}

/**
 * The other end of a path check: an open listener, without a guard, that tells who has the secret what his SYN looked
 * like when it arrived. Throws SysError where it can't listen.
 */
export function listenForChecks(
  address: string | undefined,
  port: number,
  secret: Uint8Array,
  heard: (what: Heard) => void,
): Server {
  const fd = bound(
    address === undefined
      ? [endpointOf('::', port), endpointOf('0.0.0.0', port)]
      : [endpointOf(address, port)],
  );
  const server = createServer((socket) => serve(socket, secret, heard));
  server.maxConnections = BACKLOG;
  return server.listen({ fd });
}

function bound([endpoint, ...others]: readonly Endpoint[]): number {
  if (endpoint === undefined) throw new Error('there is no address to listen on');
  const { family, sockaddr } = endpoint;
  let fd: number | undefined;
  try {
    fd = tcp.socket(family);
    tcp.setInt(fd, 'SO_REUSEADDR', 1);
    if (family === AF_INET6) tcp.setInt(fd, 'IPV6_V6ONLY', 0);
    tcp.setInt(fd, 'TCP_SAVE_SYN', 1);
    tcp.bind(fd, sockaddr);
    tcp.listen(fd, BACKLOG);
    return fd;
  } catch (error) {
    if (fd !== undefined) channel.close(fd);
    if (others.length > 0 && error instanceof SysError && NO_IPV6.includes(error.code)) return bound(others);
    throw error;
  }
}

function serve(socket: Socket, secret: Uint8Array, heard: (what: Heard) => void): void {
  const from = `${socket.remoteAddress}`.replace(/^::ffff:/, '');
  const syn = savedSyn(socket);
  let line = '';
  socket.setTimeout(PATIENCE, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    line += chunk.toString('latin1');
    const end = line.indexOf('\n');
    if (end < 0 && line.length <= LONGEST_LINE) return;
    let arrival: Arrival | undefined;
    const reply = answer(secret, line.slice(0, Math.max(end, 0)), () => {
      arrival = syn;
      return syn;
    });
    heard({ from, arrival });
    socket.removeAllListeners('data').end(reply);
  });
}

/** Empty, and so undefined, where SYN cookies took its place. It can be read once. */
function savedSyn(socket: Socket): Arrival | undefined {
  const { fd } = (socket as Socket & { readonly _handle?: { readonly fd: number } })._handle ?? {};
  return fd === undefined ? undefined : readSavedSyn(getBytes(fd, 'TCP_SAVED_SYN', SAVED_SYN_BYTES));
}
