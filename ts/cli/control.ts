import { type Command, InvalidArgumentError, Option } from 'commander';
import { ConfigError } from '../config/error.ts';
import { EngineError } from '../engine/engine.ts';
import { DEFAULT_SOCKET } from '../spec/messages.ts';
import { SysError } from '../sys/error.ts';
import { DEFAULT_SECRETS } from './environment.ts';
import { fail, oneLineErrors } from './oneLineErrors.ts';
import { paragraphs } from './terminal.ts';

const DEFAULT_MODE = 0o660;
const FAILED_STATUS = 1;

export type LogFormat = 'text' | 'json';

export interface ControlOptions {
  readonly socket: string;
  readonly mode: number;
  readonly group?: string;
  readonly allowUser?: readonly string[];
  /** False: none. */
  readonly secrets?: string | false;
  readonly ephemeral?: boolean;
  readonly removeFilters?: boolean;
  readonly logFormat: LogFormat;
  readonly logEvents?: boolean;
  readonly metrics?: string;
}

function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new InvalidArgumentError('Must be an octal mode like 0660.');
  return Number.parseInt(text, 8);
}

export function register(program: Command): void {
  const command = oneLineErrors(program.command('control'))
    .description('run the control process of this network namespace, in the foreground')
    .option('--socket <path>', 'where libknockify.so finds it', process.env.KNOCK_CONTROL || DEFAULT_SOCKET)
    .addOption(
      new Option('--mode <octal>', 'permissions of the socket: who may use it')
        .argParser(parseMode)
        .default(DEFAULT_MODE, '0660'),
    )
    .option('--group <name>', 'group of the socket')
    .option('--allow-user <name...>', 'serve these users and root alone, whoever else can open the socket')
    .option(
      '--secrets <dir>',
      `accept the named secrets in this folder at listeners that bring none (default: ${DEFAULT_SECRETS}, if it is there)`,
    )
    .option('--no-secrets', 'leave the named secrets alone')
    .option(
      '--ephemeral',
      'on SIGTERM, also remove what keeps listeners and delayed connects of running programs going until a restart',
    )
    .option(
      '--remove-filters',
      'only remove the filters that control processes which have ended left on the interfaces here',
    )
    .addOption(
      new Option('--log-format <format>', 'lines on standard error for people, or JSON objects for programs')
        .choices(['text', 'json'])
        .default('text'),
    )
    .option('--log-events', "also log what guards say of SYNs, as 'knockify events' shows it")
    .option(
      '--metrics <place>',
      "serve figures for Prometheus at unix:/PATH, or at 127.0.0.1:PORT, where all of this machine's users can read them",
    )
    .addHelpText(
      'after',
      paragraphs(
        'Needs CAP_NET_ADMIN and CAP_BPF (root has both). KNOCK_ENGINE=auto|stock|knock picks the engine.',
        'SIGHUP: look at the named secrets now. Changes are noticed without it.',
      ),
    );
  command.action(async (options: ControlOptions) => {
    try {
      // Only this command needs libbpf: the others work, and doctor says so, where it is missing.
      if (options.removeFilters) {
        const { removeFilters } = await import('./removeFilters.ts');
        process.stdout.write(`${removeFilters()}\n`);
        return;
      }
      const { serve } = await import('./serve.ts');
      await serve(options);
    } catch (error) {
      const known = error instanceof ConfigError || error instanceof EngineError || error instanceof SysError;
      fail(command, known || !(error instanceof Error) ? error : error.stack, FAILED_STATUS);
    }
  });
}
