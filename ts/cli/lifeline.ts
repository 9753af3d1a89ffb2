import { rmdirSync } from 'node:fs';
import { dirname } from 'node:path';

/*
 * Loaded into a private control process ahead of its own code. Its standard input is a pipe that `knockify run`
 * holds: it ends when that does, however that does, and the control process must not be left behind.
 */

const socket = process.argv[process.argv.indexOf('--socket') + 1];

process.stdin.on('end', () => process.kill(process.pid, 'SIGTERM')).resume();
// By then the control process has removed its socket, and the directory is empty.
process.on('exit', () => {
  try {
    rmdirSync(dirname(socket ?? ''));
  } catch {
    // Whoever made it was quicker.
  }
});
