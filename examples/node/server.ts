/**
 * A hidden echo server: `tsx examples/node/server.ts PORT SECRET_FILE [PROTECTED_LENGTH]`.
 * Needs a control process (`knockify control`), and no LD_PRELOAD.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { listenStealth } from 'knockify';

const [port, secretFile, protectedLength] = process.argv.slice(2);
if (port === undefined || secretFile === undefined)
  throw new Error('usage: PORT SECRET_FILE [PROTECTED_LENGTH]');

const server = createServer((connection) => {
  connection.on('error', (error) => console.error(error.message));
  connection.pipe(connection);
});

await listenStealth(server, {
  port: Number(port),
  secret: readFileSync(secretFile),
  protectedLength: Number(protectedLength ?? 0),
});
console.log(`listening on port ${port}, for those who know`);
