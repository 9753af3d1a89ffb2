import { writeSync } from 'node:fs';

/** Where the control process says what it does. Never a secret, never a token. */
export interface Log {
  error(text: string): void;
  info(text: string): void;
  debug(text: string): void;
}

/**
 * Writes lines to a descriptor. A full disk or a reader that went away is no reason to end: the lines are lost, and
 * once writing works again it says how many. `process.stderr` would end for good with its first error.
 */
export function lineWriter(fd: number): (line: string) => void {
  let lost = 0;
  return (line) => {
    try {
      const notice =
        lost === 0 ? '' : `knockify control: ${lost} lines before this one could not be written\n`;
      writeSync(fd, `${notice}${line}\n`);
      lost = 0;
    } catch {
      lost++;
    }
  };
}

/** Lines up to a KNOCK_LOGLVL: 1 errors, 2 notices, 3 everything. */
export function lineLog(level: number, write: (line: string) => void): Log {
  const line = (least: number) => (text: string) => {
    if (level < least) return;
    // Part of the text may be a client's; it must not look like lines of ours.
    const shown = text.replace(
      /[^\x20-\x7e\n]|\n(?! )/g,
      (odd) => `\\x${odd.charCodeAt(0).toString(16).padStart(2, '0')}`,
    );
    if (level >= least) write(`knockify control: ${shown}`);
  };
  return { error: line(1), info: line(2), debug: line(3) };
}
