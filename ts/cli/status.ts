import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_SOCKET } from '../spec/messages.ts';
import type { Status } from '../spec/status.ts';
import { Asking, NoAnswer } from './asking.ts';
import { LiveView } from './liveView.ts';
import { fail, oneLineErrors } from './oneLineErrors.ts';
import { named } from './owners.ts';
import { showingProgress } from './progress.ts';
import { statusLines } from './statusText.ts';
import { pageOf, paragraphs } from './terminal.ts';

interface StatusOptions {
  readonly socket: string;
  readonly json?: boolean;
  readonly watch?: boolean;
  readonly interval: number;
}

const FAILED_STATUS = 1;

const AFTER_HELP = [
  'RIGHT and WRONG count the SYNs that carried the token and those that did not; LAST is how long ago the newest right one came.',
  "Root and the control process's own user see everything, others the listeners of their own user alone.",
  'Exit status: 0, or 1 where no control process answers.',
];

/** Where the control process listens, for commands that ask it. */
export function socketOption(): Option {
  return new Option('--socket <path>', 'where the control process listens').default(
    process.env.KNOCK_CONTROL || DEFAULT_SOCKET,
  );
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0.1 && value <= 3600)) throw new InvalidArgumentError('Must be seconds from 0.1 to 3600.');
  return value;
}

/** Adds `knockify status`: what is guarded, and what came to it. */
export function register(program: Command): void {
  const command = oneLineErrors(program.command('status'))
    .description('show what is guarded and what came to it')
    .addOption(socketOption())
    .option('--json', 'print it as JSON, as docs/monitoring.md describes it')
    .option('--watch', 'show it again and again, until Ctrl-C')
    .option('--interval <seconds>', 'time between two looks, with --watch', seconds, 1)
    .allowExcessArguments(false)
    .addHelpText('after', paragraphs(...AFTER_HELP));
  command.action(async (options: StatusOptions) => {
    try {
      await (options.watch ? watch(options) : print(options));
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      fail(command, error, FAILED_STATUS);
    }
  });
}

async function ask(socket: string): Promise<Status> {
  const asking = new Asking(socket);
  try {
    const status = await asking.status();
    return { ...status, listeners: named(status.listeners) };
  } finally {
    asking.close();
  }
}

function askPatiently(socket: string): Promise<Status> {
  return showingProgress('waiting for the control process', ask(socket));
}

function lines(status: Status): string[] {
  return statusLines(status, pageOf(process.stdout));
}

async function print({ socket, json }: StatusOptions): Promise<void> {
  const status = await askPatiently(socket);
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : `${lines(status).join('\n')}\n`);
}

/** A control process that is being replaced is worth waiting for, once one was there. */
async function look(socket: string): Promise<string[]> {
  try {
    return lines(await ask(socket));
  } catch (error) {
    if (error instanceof NoAnswer && error.absent) return [error.message];
    throw error;
  }
}

async function watch(options: StatusOptions): Promise<void> {
  const { socket, interval, json } = options;
  const pause = () => sleep(interval * 1000);
  if (json || !process.stdout.isTTY) {
    for (;;) {
      await print(options);
      if (!json) process.stdout.write('\n');
      await pause();
    }
  }
  let shown = lines(await askPatiently(socket));
  const view = new LiveView(process.stdout);
  const leave = (signal: NodeJS.Signals) => {
    view.close();
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, leave);
  try {
    for (;;) {
      view.show(shown);
      await pause();
      shown = await look(socket);
    }
  } finally {
    view.close();
  }
}
