import { spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findLibrary, preloadVariable, proveLoads } from '../preload.ts';
import { preloadable } from '../program.ts';
import type { Report, Task } from './knocker.ts';

/** What a client under the library met, and what the library had to say. */
export interface Knocked extends Report {
  readonly said: string;
}

/** Over the task's own timeout, for a process to start and end. Milliseconds. */
const START = 20_000;
const KNOCKER = fileURLToPath(new URL(`./knocker${extname(import.meta.url)}`, import.meta.url));

/** Has a process under libknockify.so do the task: exactly what a program that is run by `knockify run` would meet. */
export async function knock(task: Task, env: NodeJS.ProcessEnv): Promise<Knocked> {
  const { path, elf } = findLibrary();
  // What went wrong is to be heard, whatever the settings say.
  const preloaded = { ...env, LD_PRELOAD: preloadVariable(path, env.LD_PRELOAD), KNOCK_LOGLVL: '1' };
  for (const program of preloadable(process.execPath, { library: elf, path: env.PATH }))
    proveLoads(program, path, preloaded);
  const child = spawn(process.execPath, [...process.execArgv, KNOCKER], {
    env: preloaded,
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: task.timeout + START,
    killSignal: 'SIGKILL',
  });
  const [output, errors]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify(task));
  await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const said = Buffer.concat(errors).toString().trim();
  try {
    return { ...(JSON.parse(Buffer.concat(output).toString()) as Report), said };
  } catch {
    throw new Error(
      `the process that was to connect ended without a result${said === '' ? '' : `: ${said}`}`,
    );
  }
}
