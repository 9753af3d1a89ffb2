import type { Command } from 'commander';

/** Exit status after a mistake on the command line or in the configuration. */
export const USAGE_STATUS = 2;

/** Makes a command report every mistake as one line, `knockify NAME: what is wrong`, and exit with status 2. */
export function oneLineErrors(command: Command): Command {
  return command
    .showSuggestionAfterError(false)
    .configureOutput({
      outputError: (text, write) =>
        write(`knockify ${command.name()}: ${text.replace(/^error: /, '').trimEnd()}\n`),
    })
    .exitOverride((error) => {
      process.exit(error.exitCode === 0 ? 0 : USAGE_STATUS);
    });
}

/** Runs a command's work; what it throws becomes the one line. */
export function orFail(command: Command, work: () => void): void {
  try {
    work();
  } catch (error) {
    command.error(error instanceof Error ? error.message : String(error), { exitCode: USAGE_STATUS });
  }
}
