import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Destination, destinationOf } from '../stealth/destination.ts';
import { padSecret } from '../stealth/secret.ts';
import { computeToken, integrityHash } from '../stealth/token.ts';
import { loadLocalPolicy, readSecretFile } from './localPolicy.ts';
import { oneLineErrors, orFail } from './oneLineErrors.ts';

interface IsnOptions {
  readonly dest: string;
  readonly port: number;
  readonly tsval: number;
  readonly payload?: string;
  readonly payloadHex?: Uint8Array;
  readonly secretFile?: string;
}

/** Adds `knockify isn`: the token of one SYN, computed without sending anything. */
export function register(program: Command): void {
  const command = oneLineErrors(program.command('isn'))
    .description('print the stealth ISN that a SYN to a destination carries, as 0x%08x')
    .requiredOption('--dest <address>', 'numeric IPv4 or IPv6 address of the destination')
    .requiredOption('--port <port>', 'TCP port of the destination, 1 to 65535', integer('port', 1, 0xffff))
    .option(
      '--tsval <T>',
      "the SYN's TSval, decimal or 0x...; 0 is no timestamp",
      integer('TSval', 0, 0xffffffff),
      0,
    )
    .addOption(
      new Option('--payload <text>', 'the protected bytes (integrity mode), as text').conflicts('payloadHex'),
    )
    .option('--payload-hex <hex>', 'the protected bytes (integrity mode), in hex', hexBytes)
    .option('--secret-file <file>', 'take the secret from this file (default: KNOCK_SECRET, or the rc file)')
    .allowExcessArguments(false);
  command.action((options: IsnOptions) => orFail(command, () => printIsn(options)));
}

function printIsn(options: IsnOptions): void {
  const destination = destinationOf(options.dest, options.port);
  const payload = options.payload === undefined ? options.payloadHex : Buffer.from(options.payload);
  if (payload?.length === 0) throw new RangeError('the payload is empty; leave the option out for auth mode');
  const secret = secretOf(options.secretFile, destination);
  try {
    const hash = payload && integrityHash(secret, payload);
    const { isn } = computeToken({ secret, destination, tsval: options.tsval, integrityHash: hash });
    process.stdout.write(`0x${isn.toString(16).padStart(8, '0')}\n`);
  } finally {
    secret.fill(0);
  }
}

function secretOf(file: string | undefined, destination: Destination): Uint8Array {
  if (file === undefined) return loadLocalPolicy(process.env, destination).secret;
  const contents = readSecretFile(file, '--secret-file');
  try {
    return padSecret(contents);
  } catch (error) {
    throw new RangeError(`--secret-file ${file}: ${error instanceof Error ? error.message : error}`);
  } finally {
    contents.fill(0);
  }
}

function integer(what: string, low: number, high: number): (text: string) => number {
  return (text) => {
    const value = /^(\d+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : Number.NaN;
    if (!(value >= low && value <= high)) {
      throw new InvalidArgumentError(
        `A ${what} is a whole number from ${low} to ${high}, decimal or 0x and hex.`,
      );
    }
    return value;
  };
}

function hexBytes(text: string): Uint8Array {
  if (!/^([0-9a-f]{2})*$/i.test(text))
    throw new InvalidArgumentError('Must be an even number of hex digits.');
  return Buffer.from(text, 'hex');
}
