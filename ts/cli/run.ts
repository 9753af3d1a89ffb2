import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { ConfigError } from '../config/error.ts';
import { KEYS, type KeySpec, namesOf } from '../config/keys.ts';
import { padSecret } from '../stealth/secret.ts';
import { type Ending, endLike, Signals } from './launch.ts';
import { checkLocalSecrets, loadLocalPolicy, loadLocalSettings, readSecretFile } from './localPolicy.ts';
import { fail, oneLineErrors, USAGE_STATUS } from './oneLineErrors.ts';
import { findLibrary, preloadVariable, proveLoads } from './preload.ts';
import { type PrivateControl, startPrivateControl } from './privateControl.ts';
import { findProgram, ProgramError, preloadable } from './program.ts';
import { showingProgress } from './progress.ts';
import { reachControl } from './reachControl.ts';
import { paragraphs } from './terminal.ts';

export interface RunOptions {
  readonly secretFile?: string;
  readonly intlen?: string;
  readonly targets?: string;
}

type Environment = Record<string, string | undefined>;

/** The command can't be protected: it is not started. */
const UNPROTECTED_STATUS = 1;

const AFTER_HELP = [
  "A control process that is started here serves this user alone, and ends with the command: for a server that changes its user or goes to the background, start 'knockify control' instead.",
  "Exit status: the command's own (or death by the same signal); 126 if it can't be run or can't be protected, 127 if it is not there, 1 if there is no control process and none can be started, 2 for a mistake in what was asked.",
];

/** Adds `knockify run`: a command under libknockify.so, with a control process if there is none. */
export function register(program: Command): void {
  // What follows CMD is CMD's, also without the --.
  program.enablePositionalOptions();
  const command = oneLineErrors(program.command('run'))
    .description('run a command whose TCP connections and listeners use TCP Stealth')
    .argument('<cmd...>', 'the command and its arguments; put -- in front')
    .option('--secret-file <file>', 'take the secret from this file (default: KNOCK_SECRET, or the rc file)')
    .option(
      '--intlen <n>',
      'protect the first n bytes that the client sends (KNOCK_INTLEN)',
      valid(KEYS.protectedLength),
    )
    .option('--targets <list>', 'use stealth for these only (KNOCK_TARGETS)', valid(KEYS.targets))
    .passThroughOptions()
    .addHelpText('after', paragraphs(...AFTER_HELP));
  command.action(async (argv: string[], options: RunOptions) => {
    try {
      endLike(await run(argv, options));
    } catch (error) {
      fail(command, error, statusOf(error));
    }
  });
}

/** Refuses a value at once that the control process would refuse later. */
export function valid(spec: KeySpec<unknown>): (text: string) => string {
  return (text) => {
    const refuse = (why: string): never => {
      throw new InvalidArgumentError(`Must be ${spec.rule}: ${why}.`);
    };
    if (text === '') refuse('it is empty');
    spec.parse(Buffer.from(text), refuse, 'command line');
    return text;
  };
}

/** Something is missing outside of the command line and the configuration. */
export class Unprotected extends Error {
  override readonly name = 'Unprotected';
}

function statusOf(error: unknown): number {
  if (error instanceof ProgramError) return error.status;
  return error instanceof Unprotected ? UNPROTECTED_STATUS : USAGE_STATUS;
}

async function run(argv: string[], options: RunOptions): Promise<Ending> {
  const { path, elf } = library();
  const env = environment(options);
  const program = findProgram(argv[0] ?? '', env.PATH);
  env.LD_PRELOAD = preloadVariable(path, env.LD_PRELOAD);
  for (const loaded of preloadable(program, { library: elf, path: env.PATH })) proveLoads(loaded, path, env);
  const signals = new Signals();
  let control: PrivateControl | undefined;
  try {
    control = await privateControl(env, signals.interrupted);
    if (signals.fatal !== undefined) return { signal: signals.fatal };
    if (control !== undefined) env.KNOCK_CONTROL = control.socket;
    return await signals.run({ program, argv, env });
  } catch (error) {
    if (signals.fatal !== undefined) return { signal: signals.fatal };
    throw error;
  } finally {
    await control?.stop();
    signals.close();
  }
}

function library(): ReturnType<typeof findLibrary> {
  try {
    return findLibrary();
  } catch (error) {
    throw new Unprotected(error instanceof Error ? error.message : String(error));
  }
}

/** The command's environment, with everything in it that can be known to be wrong refused. Throws ConfigError. */
export function environment({ secretFile, intlen, targets }: RunOptions): Environment {
  const env: Environment = { ...process.env };
  const set = (spec: KeySpec<unknown>, value: string | undefined) => {
    if (value === undefined) return;
    for (const name of namesOf(spec)) delete env[name];
    env[spec.name] = value;
  };
  if (secretFile !== undefined) checkSecretFile(secretFile);
  set(KEYS.secret, secretFile && `f:${resolve(secretFile)}`);
  set(KEYS.protectedLength, intlen);
  set(KEYS.targets, targets);
  const { secret } = loadLocalSettings(env);
  // Node has put U+FFFD where the environment is not UTF-8, and would hand on another secret.
  if (secret?.kind === 'bytes' && env.KNOCK_SECRET?.includes('\ufffd'))
    set(KEYS.secret, `h:${Buffer.from(secret.bytes).toString('hex')}`);
  checkLocalSecrets(env);
  return env;
}

function checkSecretFile(file: string): void {
  const contents = readSecretFile(file, '--secret-file');
  try {
    padSecret(contents).fill(0);
  } catch (error) {
    throw new ConfigError(`--secret-file ${file}: ${error instanceof Error ? error.message : error}`);
  } finally {
    contents.fill(0);
  }
}

/** Undefined where there is a control process already. */
export async function privateControl(
  env: Environment,
  interrupted: AbortSignal,
): Promise<PrivateControl | undefined> {
  const { socket, state, reason } = reachControl(env);
  if (state === 'serves') return undefined;
  if (state === 'denied')
    throw new Unprotected(
      `${socket}: this user can't use the control process there (${reason}): it needs another --group or --mode`,
    );
  // Nobody will lend this control process a secret.
  if (checkLocalSecrets(env) === 0) loadLocalPolicy(env);
  try {
    return await showingProgress('starting a control process', startPrivateControl(env, interrupted));
  } catch (error) {
    throw new Unprotected(error instanceof Error ? error.message : String(error));
  }
}
