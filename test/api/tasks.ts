import { fileURLToPath } from 'node:url';
import type { ConnectStealthOptions, ListenStealthOptions } from '../../ts/api/index.ts';
import type { Host } from '../lab/netns.ts';
import { type Knock, type Program, run, start, until } from '../lab/program.ts';

/** What peer.ts is told to do. */
export type Task = Connects | Serves;

export interface Connects {
  readonly role: 'connect';
  /** One connection after another. `abortAfter`: milliseconds. */
  readonly to: readonly (Omit<ConnectStealthOptions, 'payload' | 'signal'> & {
    readonly payload?: string | undefined;
    readonly abortAfter?: number | undefined;
  })[];
  /** Written after the payload, before the end. */
  readonly write?: string;
  /** In a worker thread that ends afterwards. */
  readonly threaded?: boolean;
  /** Ends the process, or the thread, whatever is under way. Milliseconds. */
  readonly exitAfter?: number;
}

export interface Serves {
  readonly role: 'serve';
  readonly kind: 'echo' | 'http';
  readonly on: readonly Omit<ListenStealthOptions, 'signal'>[];
}

/** A line of peer.ts's. */
export type Line = Readonly<Record<string, unknown>>;

const PEER = fileURLToPath(new URL('peer.ts', import.meta.url));

/** Runs TypeScript in one process, whose id is then that of the program started. */
export const TYPESCRIPT = [process.execPath, '--import', import.meta.resolve('tsx')];

function commandOf(task: Task): string[] {
  return [...TYPESCRIPT, PEER, JSON.stringify(task)];
}

/** What has been said so far; a line that is not complete yet does not count. */
export function linesOf(stdout: string): Line[] {
  const complete = stdout.split('\n').slice(0, -1);
  return complete.map((line) => JSON.parse(line));
}

/** Carries a client's task out and returns what it says of each connection. */
export async function connects(
  host: Host,
  task: Omit<Connects, 'role'>,
  options: { readonly knock?: Knock } = {},
): Promise<Line[]> {
  const outcome = await run(host, commandOf({ role: 'connect', ...task }), options);
  if (outcome.status !== 0 || outcome.stderr !== '')
    throw new Error(
      `status ${outcome.status}, signal ${outcome.signal}\n${outcome.stdout}\n${outcome.stderr}`,
    );
  return linesOf(outcome.stdout);
}

/** Starts a server's task and waits until it has said of every listener what became of it. */
export async function serves(
  host: Host,
  task: Omit<Serves, 'role'>,
  options: { readonly knock?: Knock } = {},
): Promise<Program> {
  const program = start(host, commandOf({ role: 'serve', ...task }), options);
  const ready = () => linesOf(program.stdout()).length >= task.on.length;
  await until('the server', () => ready() || !program.isRunning());
  if (!ready()) throw new Error(program.stderr());
  return program;
}
