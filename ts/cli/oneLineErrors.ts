import type { Command } from 'commander';
import { folded, pageOf } from './terminal.ts';

/** Exit status after a mistake on the command line or in the configuration. */
export const USAGE_STATUS = 2;

/** Of the further lines that an error takes on a terminal. */
const INDENT = 2;

/** `knockify secret add`. */
function fullName(command: Command): string {
  const { parent } = command;
  return parent ? `${fullName(parent)} ${command.name()}` : command.name();
}

/** Makes a command report every mistake as one line, `knockify NAME: what is wrong`, and exit with status 2. */
export function oneLineErrors(command: Command): Command {
  return command
    .showSuggestionAfterError(false)
    .showHelpAfterError(false)
    .configureOutput({
      outputError: (text, write) => {
        const mistake = text
          .replace(/^error: /, '')
          .trimEnd()
          .replace(/\n\(Did you mean (.*)\?\)$/s, ' (did you mean $1?)')
          .replace(/\.$/, '');
        write(errorLine(command, `${mistake}; see: ${fullName(command)} --help`));
      },
    })
    .exitOverride((error) => {
      process.exit(error.exitCode === 0 ? 0 : USAGE_STATUS);
    });
}

function errorLine(command: Command, text: string): string {
  return `${folded(pageOf(process.stderr), text, { text: `${fullName(command)}: `, indent: INDENT })}\n`;
}

/** Ends the process with the line that an error makes. */
export function fail(command: Command, error: unknown, status: number): never {
  process.stderr.write(errorLine(command, error instanceof Error ? error.message : String(error)));
  process.exit(status);
}

/** Runs a command's work; what it throws becomes the one line. */
export function orFail(command: Command, work: () => void): void {
  try {
    work();
  } catch (error) {
    fail(command, error, USAGE_STATUS);
  }
}
