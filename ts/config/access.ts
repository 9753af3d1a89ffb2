import { ConfigError } from './error.ts';

const GROUP_OR_OTHER_READ_WRITE = 0o066;

/** What needs no quotes in a shell. */
const PLAIN = /^[\w./@%+=:,~-]+$/;

/** A word of a command line, to be pasted into a shell. */
export function quoted(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * Refuses a file that others can read or write, or that belongs to somebody else, as ssh does with keys.
 * `what` is the file's name, `stat` what fstat says of the open file (never of the name, which may have
 * changed since), `clientUid` the effective user of the application. Throws ConfigError with the remedy.
 */
export function checkPrivate(what: string, stat: { mode: number; uid: number }, clientUid: number): void {
  const name = quoted(what);
  if (stat.uid !== clientUid && stat.uid !== 0) {
    throw new ConfigError(
      `${what}: it belongs to user ${stat.uid}, neither to user ${clientUid} nor to root; ` +
        `mend that with: chown ${clientUid} ${name} && chmod 600 ${name}`,
    );
  }
  if ((stat.mode & GROUP_OR_OTHER_READ_WRITE) !== 0) {
    const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
    throw new ConfigError(
      `${what}: permissions ${mode} are too open, others can read or change it; mend that with: chmod 600 ${name}`,
    );
  }
}
