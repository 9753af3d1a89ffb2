import { type Command, InvalidArgumentError, Option } from 'commander';
import { ConfigError } from '../config/error.ts';
import { KEYS, MAX_PROTECTED_LENGTH } from '../config/keys.ts';
import { listen } from './check/otherEnd.ts';
import { checkPort } from './check/port.ts';
import { aimAt } from './check/setup.ts';
import { STATUS } from './check/verdict.ts';
import { checkPath } from './check/way.ts';
import { fail, oneLineErrors, USAGE_STATUS } from './oneLineErrors.ts';
import { valid } from './run.ts';
import { paragraphs } from './terminal.ts';

interface Options {
  readonly path?: true;
  readonly listen?: string;
  readonly send?: string;
  readonly sendHex?: Uint8Array;
  readonly secretFile?: string;
  readonly intlen?: string;
  readonly timeout: number;
  readonly json?: true;
}

const SECONDS = 5;
const MOST_SECONDS = 300;

const AFTER_HELP = [
  "Without --path it connects twice: plainly, as a scanner would, and with the secret, as a program run by 'knockify run'. The server sees one connection that says nothing, or what --send gives. Only --path tells what the way does to a SYN.",
  "With --path, the other end is a port of your choice at the server, where 'knockify check --listen PORT' runs: open to everybody while it does, but telling only those with the secret what arrived. A firewall must let it through. In the table, 'sent' is what left this machine.",
  'Exit status: 0 if the port is hidden and the secret opens it, or with --path, if nothing is changed on the way; 1 if nothing can be said, since something is missing here or the other end does not answer; 2 for a mistake in what was asked or set; 3 if the port is open to everybody; 4 if it is closed to the secret too; 5 if something on the way changes what the token covers.',
];

/** Adds `knockify check`: whether a port is hidden, whether the secret opens it, and what the way does to a token. */
export function register(program: Command): void {
  const command = oneLineErrors(program.command('check'))
    .description('try a port as a stranger and with the secret; or compare SYNs at both ends')
    .argument('[host]', 'name or address of the server')
    .argument('[port]', 'TCP port, 1 to 65535')
    .option('--path', "compare the SYN that leaves with the one that arrives at a 'check --listen'")
    .option('--listen <port>', 'be the other end of --path, until Ctrl-C; ADDRESS:PORT for one address')
    .addOption(
      new Option('--send <text>', 'what a client says first there; KNOCK_INTLEN needs it').conflicts(
        'sendHex',
      ),
    )
    .option('--send-hex <hex>', 'the same in hex', hexBytes)
    .option('--secret-file <file>', 'take the secret from this file (default: KNOCK_SECRET, or the rc file)')
    .option(
      '--intlen <n>',
      'protect the first n bytes that the client sends (KNOCK_INTLEN)',
      valid(KEYS.protectedLength),
    )
    .option('--timeout <seconds>', 'how long to wait for each answer', seconds, SECONDS)
    .option('--json', 'print the result as one line of JSON')
    .allowExcessArguments(false)
    .addHelpText('after', paragraphs(...AFTER_HELP));
  command.action(async (host: string | undefined, port: string | undefined, options: Options) => {
    try {
      process.exitCode = await check(host, port, options);
    } catch (error) {
      const mistaken = error instanceof ConfigError || error instanceof RangeError;
      fail(command, error, mistaken ? USAGE_STATUS : STATUS.untold);
    }
  });
}

async function check(host: string | undefined, port: string | undefined, options: Options): Promise<number> {
  const { send, sendHex, secretFile, intlen, timeout, json = false, path = false } = options;
  if (options.listen !== undefined) {
    if (host !== undefined || path) throw new ConfigError('--listen takes neither a host nor --path');
    return await listen(options.listen, { secretFile, json });
  }
  if (host === undefined || port === undefined)
    throw new ConfigError('HOST and PORT are missing, or --listen PORT');
  const first = send === undefined ? sendHex : Buffer.from(send);
  if (path && (first !== undefined || intlen !== undefined))
    throw new ConfigError('--path sends words of its own: leave --send and --intlen out');
  const aim = await aimAt(host, portNumber(port));
  const settings = {
    ...(secretFile !== undefined && { secretFile }),
    ...(intlen !== undefined && { intlen }),
  };
  return await (path ? checkPath : checkPort)(aim, { ...settings, timeout, first, json });
}

function portNumber(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 0xffff)
    throw new ConfigError(`'${text}' is no TCP port: a number from 1 to 65535 is wanted`);
  return port;
}

function seconds(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > MOST_SECONDS)
    throw new InvalidArgumentError(`Must be a whole number of seconds from 1 to ${MOST_SECONDS}.`);
  return value;
}

function hexBytes(text: string): Uint8Array {
  if (!/^([0-9a-f]{2})+$/i.test(text))
    throw new InvalidArgumentError('Must be an even number of hex digits.');
  const bytes = Buffer.from(text, 'hex');
  if (bytes.length > 64 * MAX_PROTECTED_LENGTH)
    throw new InvalidArgumentError('That is more than a first segment holds.');
  return bytes;
}
