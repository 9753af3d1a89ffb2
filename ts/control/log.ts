import { writeSync } from 'node:fs';

/** Whom a line is about (SO_PEERCRED), for logs that are searched by field. */
export interface About {
  readonly pid?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** Where the control process says what it does. Never a secret, never a token. */
export interface Log {
  error(text: string, about?: About): void;
  info(text: string, about?: About): void;
  debug(text: string, about?: About): void;
}

export type LogName = keyof Log;

/** KNOCK_LOGLVL from which on there are such lines. */
export const LOG_LEVELS: Readonly<Record<LogName, number>> = { error: 1, info: 2, debug: 3 };

/** What is said whatever the level, and in which form. */
export type Say = (level: LogName, text: string, about?: object) => void;

/**
 * Writes lines to a descriptor. A full disk or a reader that went away is no reason to end: the lines are lost, and
 * once writing works again `notice` says how many. `process.stderr` would end for good with its first error.
 */
export function lineWriter(fd: number, notice: (lost: number) => string): (line: string) => void {
  let lost = 0;
  return (line) => {
    try {
      writeSync(fd, lost === 0 ? `${line}\n` : `${notice(lost)}\n${line}\n`);
      lost = 0;
    } catch {
      lost++;
    }
  };
}

const WHO = 'knockify control: ';

function lostLines(lost: number): string {
  return `${lost} lines before this one could not be written`;
}

/** Lines for people. */
export function sayText(fd: number): Say {
  const write = lineWriter(fd, (lost) => `${WHO}${lostLines(lost)}`);
  return (_level, text) => {
    // Part of the text may be a client's; it must not look like lines of ours.
    const shown = text.replace(
      /[^\x20-\x7e\n]|\n(?! )/g,
      (odd) => `\\x${odd.charCodeAt(0).toString(16).padStart(2, '0')}`,
    );
    write(`${WHO}${shown}`);
  };
}

/** One JSON object a line, with the fields of what it is about. */
export async function sayJson(fd: number): Promise<Say> {
  // Only who asks for it pays for it.
  const { pino } = await import('pino');
  const logger = (write: (line: string) => void) =>
    pino(
      {
        level: 'debug',
        base: { name: 'knockify' },
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: (line: string) => write(line.trimEnd()) },
    );
  let made = '';
  const notices = logger((line) => {
    made = line;
  });
  const writer = lineWriter(fd, (lost) => {
    notices.error({ lost }, lostLines(lost));
    return made;
  });
  const log = logger(writer);
  return (level, text, about = {}) => log[level](about, text);
}

/** What is said up to a KNOCK_LOGLVL: 1 errors, 2 notices, 3 everything. */
export function levelled(level: number, say: Say): Log {
  const line = (name: LogName) => (text: string, about?: About) => {
    if (level >= LOG_LEVELS[name]) say(name, text, about);
  };
  return { error: line('error'), info: line('info'), debug: line('debug') };
}

/** An error that was logged. */
export interface Failure {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly text: string;
  readonly about: About;
}

const MOST_FAILURES = 16;
const LONGEST_FAILURE = 500;

/** A log that keeps its newest errors, whatever its level. */
export class Remembering implements Log {
  readonly #log: Log;
  readonly #failures: Failure[] = [];
  #count = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Oldest first. */
  get failures(): readonly Failure[] {
    return this.#failures;
  }

  /** How many there were, kept or not. */
  get count(): number {
    return this.#count;
  }

  error(text: string, about: About = {}): void {
    this.#count++;
    this.#failures.push({ at: Date.now(), text: text.slice(0, LONGEST_FAILURE), about });
    if (this.#failures.length > MOST_FAILURES) this.#failures.shift();
    this.#log.error(text, about);
  }

  info(text: string, about?: About): void {
    this.#log.info(text, about);
  }

  debug(text: string, about?: About): void {
    this.#log.debug(text, about);
  }
}
