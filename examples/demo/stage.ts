import type { Host } from '../../test/lab/netns.ts';
import { type Outcome, type Program, REPOSITORY, run, start } from '../../test/lab/program.ts';

/** Prints the story and keeps count of what it claims. Eighty columns; colours only on a terminal. */

const WIDTH = 80;
const colours = process.stdout.isTTY === true && !process.env.NO_COLOR;
const paint = (code: number) => (text: string) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
export const bold = paint(1);
const faint = paint(2);
const red = paint(31);
const green = paint(32);
const cyan = paint(36);

let failures = 0;

/** How many claims did not hold. */
export function failed(): number {
  return failures;
}

export function line(text = ''): void {
  process.stdout.write(`${text}\n`);
}

export function chapter(title: string): void {
  line(`\n${bold(title)}\n${faint('─'.repeat(WIDTH - 1))}`);
}

/** Prose, filled to the width. */
export function tell(text: string): void {
  for (const row of fill(text.split(/\s+/), WIDTH - 1)) line(row);
}

/** States what the reader has just seen; a claim that does not hold makes the demo fail. */
export function claim(text: string, holds: boolean): void {
  if (!holds) failures++;
  line(`${holds ? green('  ✓') : red('  ✗')} ${holds ? text : red(`NOT SO: ${text}`)}`);
}

/** What a program wrote. */
export function quote(text: string): void {
  for (const row of text.trimEnd().split('\n')) {
    const rows = row.length > WIDTH - 5 ? fill(row.split(' '), WIDTH - 7) : [row];
    line(`    ${rows.join('\n      ')}`);
  }
}

export interface Command {
  readonly at: Host;
  readonly env?: Readonly<Record<string, string>>;
  readonly words: readonly string[];
}

/** Shows a command as one types it, in the directory of the repository, and runs exactly that to its end. */
export async function typed(command: Command): Promise<Outcome> {
  show(command);
  return run(command.at, command.words, { env: command.env, cwd: REPOSITORY });
}

/** The same for a command that stays. */
export function typedInBackground(command: Command): Program {
  show(command, ' &');
  return start(command.at, command.words, { env: command.env, cwd: REPOSITORY });
}

/** Shows what each shell has been told before; the commands that follow have it in their environment. */
export function showExport(at: Host, name: string, value: string): void {
  line(`${prompt(at)} export ${name}=${quoted(value)}`);
}

const HIDDEN = 'KNOCK_CONTROL';

function show({ at, env = {}, words }: Command, ending = ''): void {
  const assignments = Object.entries(env)
    .filter(([name]) => name !== HIDDEN)
    .map(([name, value]) => `${name}=${quoted(value)}`);
  const rows = fill([...assignments, ...words.map(quoted)], WIDTH - at.name.length - 7);
  const indent = ' '.repeat(at.name.length + 4);
  line(`${prompt(at)} ${rows.join(` \\\n${indent}`)}${ending}`);
}

function prompt(at: Host): string {
  return cyan(`${at.name}#`);
}

function quoted(word: string): string {
  return /^[\w@%+=:,./[\]-]*$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function fill(words: readonly string[], width: number): string[] {
  const rows: string[] = [];
  for (const word of words) {
    const last = rows.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      rows[rows.length - 1] = `${last} ${word}`;
    else rows.push(word);
  }
  return rows;
}
