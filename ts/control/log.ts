/** Where the control process says what it does. Never a secret, never a token. */
export interface Log {
  error(text: string): void;
  info(text: string): void;
  debug(text: string): void;
}

/** Lines on stderr up to a KNOCK_LOGLVL: 1 errors, 2 notices, 3 everything. */
export function stderrLog(level: number): Log {
  const line = (least: number) => (text: string) => {
    // Part of the text may be a client's; it must not look like lines of ours.
    const shown = text.replace(
      /[^\x20-\x7e\n]|\n(?! )/g,
      (odd) => `\\x${odd.charCodeAt(0).toString(16).padStart(2, '0')}`,
    );
    if (level >= least) process.stderr.write(`knockify control: ${shown}\n`);
  };
  return { error: line(1), info: line(2), debug: line(3) };
}
