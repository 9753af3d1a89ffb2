import { join } from 'node:path';
import type { Status } from '../../ts/spec/status.ts';
import type { Host, Lab } from './netns.ts';
import { type Program, REPOSITORY, run, start, stop, untilSays } from './program.ts';

export const KNOCKIFY = join(REPOSITORY, 'dist/cli/main.js');

export interface Control {
  readonly program: Program;
  /** Path of its Unix socket. */
  readonly socket: string;
  stop(): Promise<void>;
}

let controls = 0;

/** The command that starts a control process, behind whatever takes privileges away. */
export function controlCommand(socket: string, before: readonly string[] = []): string[] {
  return [...before, process.execPath, KNOCKIFY, 'control', '--socket', socket];
}

/** Starts a control process in a namespace and waits until it is ready. */
export async function startControl(
  lab: Lab,
  host: Host,
  options: {
    socket?: string;
    before?: readonly string[];
    arguments?: readonly string[];
    env?: Record<string, string>;
    /** What it says when it is ready. */
    ready?: string;
  } = {},
): Promise<Control> {
  const socket = options.socket ?? join(lab.directory, `control-${host.name}-${controls++}.sock`);
  const command = [...controlCommand(socket, options.before), ...(options.arguments ?? [])];
  const program = start(host, command, { env: options.env });
  await untilSays(program, options.ready ?? 'control: ready on', 20_000);
  return {
    program,
    socket,
    stop: async () => {
      await stop(program);
    },
  };
}

/** What `knockify status` says of a control process, to whom `before` makes of root. */
export async function statusOf(
  host: Host,
  { socket }: Pick<Control, 'socket'>,
  before: readonly string[] = [],
): Promise<Status> {
  const command = [...before, process.execPath, KNOCKIFY, 'status', '--json', '--socket', socket];
  const { status, stdout, stderr } = await run(host, command);
  if (status !== 0 || stderr !== '') throw new Error(`${command.join(' ')}: ${status}\n${stderr}`);
  return JSON.parse(stdout);
}
