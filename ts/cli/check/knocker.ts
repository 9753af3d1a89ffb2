import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import * as tcp from '../../sys/tcp.ts';

/*
 * Runs under libknockify.so and does what any client does: it connects, says something, and looks what comes back.
 * What to do comes as JSON on standard input, what came of it goes to standard output.
 */

export interface Task {
  readonly address: string;
  readonly port: number;
  /** Milliseconds for all of it. */
  readonly timeout: number;
  /** What the client says first, in hex. Empty: nothing. */
  readonly first: string;
  /** Whether to wait for a line, or just to see that the connection lasts. */
  readonly line: boolean;
}

export interface Report {
  /** Connected, and as far as was waited for it, it lasted. */
  readonly connected: boolean;
  /** What the connect failed with, or the connection broke with; undefined after `timeout` too. */
  readonly code: string | undefined;
  readonly line: string | undefined;
  /** This end of the connection. */
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  /** TSval that a segment would carry now, and the milliseconds that went by since connect(2) was called. */
  readonly tsval: number;
  readonly elapsed: number;
}

/** A server that resets after the protected bytes does so at once; a slow one needs a few round trips. Milliseconds. */
const LASTS = 1_000;
const ROUND_TRIPS = 3;
const LONGEST_LINE = 4096;

const task = JSON.parse(await text(process.stdin)) as Task;
const begun = performance.now();
const socket = connect({ host: task.address, port: task.port, autoSelectFamily: false });
socket.setNoDelay(true);

let line = '';
let local: Pick<Report, 'localAddress' | 'localPort' | 'tsval'> = {
  localAddress: undefined,
  localPort: undefined,
  tsval: 0,
};

function finish(connected: boolean, code?: string): never {
  const report: Report = {
    connected,
    code,
    line: line.includes('\n') ? line.slice(0, line.indexOf('\n')) : undefined,
    ...local,
    elapsed: Math.ceil(performance.now() - begun),
  };
  process.stdout.write(JSON.stringify(report), () => process.exit(0));
  // Nothing else is to happen until that is written.
  socket.removeAllListeners();
  socket.on('error', () => {});
  return undefined as never;
}

/** Once a delayed connect has been made for real, which the first write brings about, its clock is the connection's. */
function lookAround(): void {
  const { fd } = (socket as Socket & { readonly _handle?: { readonly fd: number } })._handle ?? {};
  const { localAddress, localPort } = socket;
  const tsval = fd === undefined ? 0 : tcp.getInt(fd, 'TCP_TIMESTAMP') >>> 0;
  local = { localAddress, localPort, tsval };
}

function wait(): void {
  lookAround();
  if (task.line) return;
  if (task.first === '') finish(true);
  setTimeout(() => finish(true), Math.max(LASTS, ROUND_TRIPS * (performance.now() - begun)));
}

setTimeout(() => finish(false), task.timeout);
socket.on('error', (error: NodeJS.ErrnoException) => finish(false, error.code ?? error.message));
socket.on('data', (data) => {
  line += data.toString('latin1');
  if (!task.line || line.includes('\n') || line.length > LONGEST_LINE) finish(true);
});
socket.on('end', () => finish(true));
socket.on('connect', () => {
  if (task.first === '') wait();
  else socket.write(Buffer.from(task.first, 'hex'), wait);
});
