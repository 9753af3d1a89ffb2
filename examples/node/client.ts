/**
 * Sends a message to a hidden server and prints the answer:
 * `tsx examples/node/client.ts HOST PORT SECRET_FILE MESSAGE [PROTECTED_LENGTH]`.
 * Needs a control process (`knockify control`), and no LD_PRELOAD.
 */
import { readFileSync } from 'node:fs';
import { connectStealth, StealthError } from 'knockify';

const [host, port, secretFile, message, protectedLength] = process.argv.slice(2);
if (host === undefined || port === undefined || secretFile === undefined || message === undefined)
  throw new Error('usage: HOST PORT SECRET_FILE MESSAGE [PROTECTED_LENGTH]');

const bytes = Buffer.from(message);
const protects = Number(protectedLength ?? 0);

try {
  const connection = await connectStealth({
    host,
    port: Number(port),
    secret: readFileSync(secretFile),
    // The token covers these, and they are sent with the connect: only the rest is to be written.
    ...(protects > 0 ? { payload: bytes.subarray(0, protects) } : {}),
    timeout: 10_000,
  });
  connection.end(bytes.subarray(protects));
  for await (const chunk of connection) process.stdout.write(chunk);
} catch (error) {
  const { message: why } = error as Error;
  console.error(error instanceof StealthError ? `no stealth: ${why}` : why);
  process.exitCode = 1;
}
