import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { eventText } from '../control/following.ts';
import type { FollowedEvent } from '../spec/status.ts';
import { Asking, NoAnswer } from './asking.ts';
import { fail, oneLineErrors } from './oneLineErrors.ts';
import { programNow } from './owners.ts';
import { socketOption } from './status.ts';
import { harmless } from './statusText.ts';
import { clock, type Page, type Paint, pageOf, painted, paragraphs } from './terminal.ts';

interface EventsOptions {
  readonly socket: string;
  readonly json?: boolean;
}

const FAILED_STATUS = 1;

const AFTER_HELP = [
  "A line for each SYN that came to a guarded listener: authorised (it carried the token), rejected (it did not), replayed (the token is somebody else's). In a flood there are some hundred a second, and a line says how many are missing.",
  "It goes on when the control process is restarted. Root and the control process's own user see everything, others what came to listeners of their own user.",
  'Exit status: 0 after Ctrl-C or SIGTERM, 1 where no control process answers.',
];

/** How long to leave a control process that ended alone. Milliseconds. */
const RETRY_AFTER = 200;
const COLOURS = { authorised: 'green', rejected: 'red', replayed: 'yellow' } as const satisfies Record<
  string,
  Paint
>;

/** Adds `knockify events`: follows what guards say. */
export function register(program: Command): void {
  const command = oneLineErrors(program.command('events'))
    .description('follow which SYNs guarded listeners authorise and reject, until Ctrl-C')
    .addOption(socketOption())
    .option('--json', 'print a JSON object a line, as docs/monitoring.md describes it')
    .allowExcessArguments(false)
    .addHelpText('after', paragraphs(...AFTER_HELP));
  command.action(async (options: EventsOptions) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(0));
    // Whoever reads, head(1) for instance, may have had enough.
    process.stdout.on('error', () => process.exit(0));
    try {
      await follow(options);
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      fail(command, error, FAILED_STATUS);
    }
  });
}

/** `13:45:01.123 authorised ...`, in local time. */
export function eventLine(event: FollowedEvent, page: Page): string {
  const { seconds, fraction } = clock(event.time);
  const text = harmless(eventText(event));
  const colour = 'verdict' in event ? COLOURS[event.verdict] : 'yellow';
  return `${painted(page, 'dim', seconds + fraction)} ${painted(page, colour, text)}`;
}

function named(event: FollowedEvent): FollowedEvent {
  if ('suppressed' in event || event.pid === null || event.program !== null) return event;
  return { ...event, program: programNow(event.pid, event.time) };
}

async function follow({ socket, json }: EventsOptions): Promise<never> {
  const page = pageOf(process.stdout);
  let newest = Date.now();
  const print = (event: FollowedEvent) => {
    newest = Math.max(newest, Date.parse(event.time));
    const shown = named(event);
    process.stdout.write(json ? `${JSON.stringify(shown)}\n` : `${eventLine(shown, page)}\n`);
  };
  await followOne(new Asking(socket), 0, print);
  for (;;) {
    await sleep(RETRY_AFTER);
    try {
      // What happened between the end of one control process and the beginning of the next is on record.
      await followOne(new Asking(socket), Date.now() - newest, print);
    } catch (error) {
      if (!(error instanceof NoAnswer && error.absent)) throw error;
    }
  }
}

/** So that nobody in front of a terminal wonders whether something happens. */
function tell(text: string): void {
  const page = pageOf(process.stderr);
  if (process.stdout.isTTY && process.stderr.isTTY) process.stderr.write(`${painted(page, 'dim', text)}\n`);
}

/** Returns when the control process has ended. */
async function followOne(asking: Asking, age: number, print: (event: FollowedEvent) => void): Promise<void> {
  tell('following what comes to guarded listeners; Ctrl-C ends it');
  try {
    await asking.follow(age, print);
  } catch (error) {
    if (!(error instanceof NoAnswer && error.absent)) throw error;
    tell('the control process has ended; waiting for the next one');
  } finally {
    asking.close();
  }
}
