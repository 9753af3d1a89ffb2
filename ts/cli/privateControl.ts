import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Environment, unpreloaded } from './preload.ts';

const READY = /^knockify control: ready on /;
/** Two BPF programs go through the kernel's verifier; a busy machine takes its time for that. Milliseconds. */
const START_TIMEOUT = 30_000;
const STOP_TIMEOUT = 5_000;

/** A control process that serves one command. */
export interface PrivateControl {
  /** For KNOCK_CONTROL. */
  readonly socket: string;
  /** Ends it and removes what it made. */
  stop(): Promise<void>;
}

/**
 * Starts a control process of our own, reachable for this user alone, and waits until it serves. What it says is
 * handed on to standard error. Throws an Error with what it said where it doesn't come to that, or when `abandon`
 * ends the waiting. It stops by itself when this process dies.
 */
export async function startPrivateControl(env: Environment, abandon: AbortSignal): Promise<PrivateControl> {
  const directory = mkdtempSync(join(tmpdir(), 'knockify-'));
  const socket = join(directory, 'control.sock');
  const remove = () => rmSync(directory, { recursive: true, force: true });
  const lifeline = new URL(`./lifeline${extname(import.meta.url)}`, import.meta.url).href;
  const self = [...process.execArgv, '--import', lifeline, process.argv[1] ?? ''];
  const child = spawn(
    process.execPath,
    [...self, 'control', '--ephemeral', '--no-secrets', '--socket', socket],
    {
      env: unpreloaded(env),
      stdio: ['pipe', 'ignore', 'pipe'],
      // Out of the terminal's process group: its Ctrl-C ends the command, which may still need the control process then.
      detached: true,
    },
  );
  const stop = async () => {
    await end(child);
    remove();
  };
  try {
    await ready(child, abandon);
  } catch (error) {
    await stop();
    throw error;
  }
  let stopping = false;
  child.once('exit', () => {
    if (!stopping) process.stderr.write(`knockify run: ${GONE}\n`);
  });
  return {
    socket,
    stop: () => {
      stopping = true;
      return stop();
    },
  };
}

const GONE = 'the private control process has ended; stealth sockets fail from now on';

/** Resolves when the control process says that it serves. What it says goes to standard error, then and later. */
function ready(child: ChildProcess, abandon: AbortSignal): Promise<void> {
  let serves = false;
  const said: string[] = [];
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer);
      reject(new Error([`the control process ${why}`, ...said].join('\n')));
    };
    const timer = setTimeout(() => fail(`was not ready after ${START_TIMEOUT / 1000} s`), START_TIMEOUT);
    abandon.addEventListener('abort', () => fail('was interrupted'));
    child.once('error', (error) => fail(`can't be started: ${error.message}`));
    child.once('close', () => fail("can't start, so the command is not started either:"));
    if (child.stderr === null) return;
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (serves) process.stderr.write(`${line}\n`);
      else if (!READY.test(line)) said.push(line);
      else {
        serves = true;
        clearTimeout(timer);
        for (const earlier of said) process.stderr.write(`${earlier}\n`);
        resolve();
      }
    });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT);
  await closed;
  clearTimeout(timer);
}
