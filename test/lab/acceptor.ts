import { join } from 'node:path';
import type { Host, Lab } from './netns.ts';
import {
  type Knock,
  type Outcome,
  type Program,
  type ProgramOptions,
  PYTHON,
  REPOSITORY,
  run,
  start,
  untilListening,
} from './program.ts';

const ACCEPTOR = join(REPOSITORY, 'test/programs/acceptor.py');

/** Starts a server that gives each client its first words back, and waits until it listens. */
export async function startAcceptor(
  host: Host,
  address: string,
  port: number,
  { before = [], ...options }: ProgramOptions & { before?: readonly string[] } = {},
): Promise<Program> {
  const command = [...before, PYTHON, '-u', ACCEPTOR, address, String(port)];
  const program = start(host, command, options);
  await untilListening(program, port);
  return program;
}

/** Says something to one at the lab's server: by curl, which prints what comes back. */
export function sayTo(lab: Lab, port: number, words: string, knock: Knock): Promise<Outcome> {
  const url = `telnet://${lab.server.addresses.ipv4}:${port}`;
  return run(lab.client, ['curl', '-sS', '-m', '8', '--no-buffer', url], { knock, input: words });
}
