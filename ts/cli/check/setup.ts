import { type Endpoint, resolve } from '../../api/endpoint.ts';
import { showingProgress } from '../progress.ts';
import { environment, privateControl, type RunOptions, Unprotected } from '../run.ts';
import type { Task } from './knocker.ts';
import { answerOf, type Outcome } from './plain.ts';
import { type Knocked, knock } from './stealth.ts';

/** What a check is made of, from the command line. */
export interface CheckOptions extends Pick<RunOptions, 'secretFile' | 'intlen'> {
  /** Seconds. */
  readonly timeout: number;
  /** What the client says first, with integrity. */
  readonly first: Uint8Array | undefined;
  readonly json: boolean;
}

/** A host by its name, and the address of it that is checked. */
export interface Aim {
  readonly host: string;
  readonly endpoint: Endpoint;
  /** Addresses that are not checked. */
  readonly others: number;
}

/** Throws Unprotected where the name has no address. */
export async function aimAt(host: string, port: number): Promise<Aim> {
  try {
    const looking = resolve(host, port, { signal: new AbortController().signal });
    const [endpoint, ...others] = await showingProgress(`looking up ${host}`, looking);
    if (endpoint !== undefined) return { host, endpoint, others: others.length };
  } catch (error) {
    if (error instanceof RangeError) throw error;
    const why = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new Unprotected(
      `${host}: no address is to be had (${why}); is the name right, and does the resolver answer?`,
    );
  }
  throw new Unprotected(`${host}: it has no address`);
}

/** Whom the check is about: a line for people. */
export function aimText({ host, endpoint: { address, port }, others }: Aim): string {
  const named = host === address ? host : `${host} (${address})`;
  const note = others === 0 ? '' : `; ${others} more of its addresses are not checked`;
  return `${named} port ${port}${note}`;
}

/** The environment that `knockify run` would give a program. Throws ConfigError. */
export function programEnvironment(options: RunOptions): NodeJS.ProcessEnv {
  return environment(options);
}

/** Makes a connection as a program that `knockify run` starts: with the control process that is there, or one of its own. */
export async function knockAsProgram(task: Task, env: NodeJS.ProcessEnv): Promise<Knocked> {
  const control = await privateControl(env, new AbortController().signal);
  try {
    return await knock(task, control === undefined ? env : { ...env, KNOCK_CONTROL: control.socket });
  } finally {
    await control?.stop();
  }
}

const NO_STEALTH = 'EPROTONOSUPPORT';

/** Throws Unprotected where no SYN with a token has left, with what the library said of that. */
export function outcomeOf({ connected, code, said }: Knocked): Outcome {
  if (connected) return { answer: 'open', code: undefined };
  if (code === undefined) return { answer: 'filtered', code };
  const reason = said.replace(/^knockify: /gm, '');
  if (code === NO_STEALTH) throw new Unprotected(reason || 'no connect with a token is possible here');
  return { answer: answerOf(code), code };
}
