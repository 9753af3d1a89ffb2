import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Host } from './netns.ts';
import { patient } from './slowness.ts';

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
export const LIBRARY = join(REPOSITORY, 'build/Release/libknockify.so');
export const PYTHON = '/usr/bin/python3';

/** How a program is put under the library. */
export interface Knock {
  readonly control: string;
  /** Absent: the program brings none. */
  readonly secret?: string | undefined;
  /** Protected length; absent or 0 is authentication only. */
  readonly intlen?: number | undefined;
  readonly loglevel?: number | undefined;
  readonly targets?: string | undefined;
}

export interface ProgramOptions {
  /** Absent: the program runs as it is. */
  readonly knock?: Knock | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly input?: string | Buffer | undefined;
  readonly cwd?: string | undefined;
}

export interface Outcome {
  /** Exit status, or undefined when a signal ended it. */
  readonly status: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Program {
  readonly host: Host;
  readonly command: readonly string[];
  readonly pid: number;
  readonly child: ChildProcess;
  readonly ended: Promise<Outcome>;
  stdout(): string;
  stderr(): string;
  isRunning(): boolean;
}

/** The environment that puts a program under the library. */
export function knockEnvironment(knock: Knock): Record<string, string> {
  // Without the file ld.so warns and runs the program plainly: a test of refusals would then prove nothing.
  if (!existsSync(LIBRARY)) throw new Error(`${LIBRARY} is missing: run npm run build`);
  return {
    LD_PRELOAD: LIBRARY,
    KNOCK_CONTROL: knock.control,
    ...(knock.secret === undefined ? {} : { KNOCK_SECRET: knock.secret }),
    ...(knock.intlen ? { KNOCK_INTLEN: String(knock.intlen) } : {}),
    ...(knock.loglevel === undefined ? {} : { KNOCK_LOGLVL: String(knock.loglevel) }),
    ...(knock.targets === undefined ? {} : { KNOCK_TARGETS: knock.targets }),
  };
}

/** What a program started by a test sees; nothing of the tester's own set-up decides a result. */
const PLAIN_ENVIRONMENT = {
  PATH: process.env.PATH ?? '',
  HOME: '/nonexistent',
  LC_ALL: 'C.UTF-8',
  // What imports its neighbour leaves nothing beside it.
  PYTHONDONTWRITEBYTECODE: '1',
};

/** Starts a program in a namespace. The library is named by `env`, so that `ip` itself does not run under it. */
export function start(host: Host, command: readonly string[], options: ProgramOptions = {}): Program {
  const environment = { ...(options.knock ? knockEnvironment(options.knock) : {}), ...options.env };
  const assignments = Object.entries(environment).map(([key, value]) => `${key}=${value}`);
  // ip and env exec: the process id of the child becomes that of the program.
  const child = spawn('ip', ['netns', 'exec', host.namespace, 'env', ...assignments, ...command], {
    env: PLAIN_ENVIRONMENT,
    cwd: options.cwd ?? '/',
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  // A program that ends without reading its input is its own affair.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  const stdout = () => Buffer.concat(output).toString();
  const stderr = () => Buffer.concat(errors).toString();
  const ended = new Promise<Outcome>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) =>
      resolve({
        status: status ?? undefined,
        signal: signal ?? undefined,
        stdout: stdout(),
        stderr: stderr(),
      }),
    );
  });
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  return { host, command, pid: child.pid ?? 0, child, ended, stdout, stderr, isRunning };
}

/** Waits for the end. A program that takes longer than `timeout` milliseconds is killed, and that is an error. */
export async function finish(program: Program, timeout = 15_000): Promise<Outcome> {
  let expired = false;
  const timer = setTimeout(() => {
    expired = true;
    program.child.kill('SIGKILL');
  }, patient(timeout));
  try {
    const outcome = await program.ended;
    if (expired) {
      throw new Error(
        `${program.command.join(' ')} did not end within ${patient(timeout)} ms\n${outcome.stdout}\n${outcome.stderr}`,
      );
    }
    return outcome;
  } finally {
    clearTimeout(timer);
  }
}

export async function run(
  host: Host,
  command: readonly string[],
  options: ProgramOptions & { timeout?: number } = {},
): Promise<Outcome> {
  return finish(start(host, command, options), options.timeout);
}

/** Ends a program with a signal, and with SIGKILL when it does not listen to that. */
export async function stop(
  program: Program,
  signal: NodeJS.Signals = 'SIGTERM',
  timeout = 5_000,
): Promise<Outcome> {
  if (program.isRunning()) program.child.kill(signal);
  const timer = setTimeout(() => program.child.kill('SIGKILL'), patient(timeout));
  const outcome = await program.ended;
  clearTimeout(timer);
  return outcome;
}

/** Waits until `condition` holds. */
export async function until(what: string, condition: () => boolean, timeout = 10_000): Promise<void> {
  const most = patient(timeout);
  for (const deadline = Date.now() + most; !condition(); await sleep(10)) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${most} ms`);
  }
}

/** Waits for a line of a program's standard error (or output) that contains `text`. */
export async function untilSays(program: Program, text: string, timeout = 10_000): Promise<void> {
  const said = () => program.stderr().includes(text) || program.stdout().includes(text);
  await until(
    `"${text}" from ${program.command.join(' ')}`,
    () => said() || !program.isRunning(),
    timeout,
  ).catch((error) => {
    throw new Error(`${error.message}\n${program.stderr()}`);
  });
  if (!said())
    throw new Error(`${program.command.join(' ')} ended without saying "${text}"\n${program.stderr()}`);
}

const LISTEN = '0A';

/** TCP ports on which something listens in the namespace of a process. Read from /proc: a connection would be traffic. */
export function listeningPorts(pid: number): number[] {
  const ports: number[] = [];
  for (const table of ['tcp', 'tcp6']) {
    for (const line of readFileSync(`/proc/${pid}/net/${table}`, 'latin1').split('\n').slice(1)) {
      const [, local, , state] = line.trim().split(/\s+/);
      if (state === LISTEN) ports.push(Number.parseInt(local?.split(':')[1] ?? '', 16));
    }
  }
  return ports;
}

/** Whether `ip netns exec` has got as far as the namespace; until then /proc shows the tester's own sockets. */
function isInside(program: Program): boolean {
  const namespace = (path: string) => statSync(path, { throwIfNoEntry: false })?.ino;
  return namespace(`/proc/${program.pid}/ns/net`) === namespace(`/run/netns/${program.host.namespace}`);
}

/** Waits until the program's namespace has a listener on `port`. */
export async function untilListening(program: Program, port: number, timeout = 10_000): Promise<void> {
  const listens = () =>
    program.isRunning() && isInside(program) && listeningPorts(program.pid).includes(port);
  await until(`a listener on port ${port}`, () => listens() || !program.isRunning(), timeout).catch(
    (error) => {
      throw new Error(`${error.message}\n${program.stderr()}`);
    },
  );
  if (listens()) return;
  if (program.isRunning())
    throw new Error(`${program.command.join(' ')} listened on port ${port} only for a moment`);
  // What it said last may still be in the pipe.
  await program.ended;
  throw new Error(`${program.command.join(' ')} ended before it listened\n${program.stderr()}`);
}
