import { ConfigError } from '../../config/error.ts';
import { ALL_TARGETS, matchesDestination } from '../../config/targets.ts';
import { type Destination, destinationOf } from '../../stealth/destination.ts';
import { fingerprint } from '../../stealth/secret.ts';
import { loadLocalPolicy, loadLocalSettings } from '../localPolicy.ts';
import { showingProgress } from '../progress.ts';
import { proseOf } from '../terminal.ts';
import { connectPlainly, type Outcome } from './plain.ts';
import { outcomeText, table, verdictText } from './report.ts';
import {
  type Aim,
  aimText,
  type CheckOptions,
  knockAsProgram,
  outcomeOf,
  programEnvironment,
} from './setup.ts';
import { judge, STATUS, type Tried } from './verdict.ts';

/** Tries a port as a stranger and as a program with the secret, and prints what that tells. Returns the exit status. */
export async function checkPort(aim: Aim, options: CheckOptions): Promise<number> {
  const env = programEnvironment(options);
  const { protectedLength, fingerprint } = settingsFor(aim, env, options);
  const { endpoint } = aim;
  const timeout = options.timeout * 1000;
  const plain = await showingProgress(
    'waiting for an answer to a plain SYN',
    connectPlainly(endpoint, timeout),
  );
  let stealth: Outcome | undefined;
  if (plain.answer === 'closed' || plain.answer === 'filtered') {
    const task = {
      ...{ address: endpoint.address, port: endpoint.port, timeout, line: false },
      first: Buffer.from(options.first ?? []).toString('hex'),
    };
    const knocked = showingProgress('trying it with the secret', knockAsProgram(task, env));
    stealth = outcomeOf(await knocked);
  }
  return report(aim, { plain, stealth, protectedLength, fingerprint }, options);
}

/** What applies to a program here. Throws ConfigError where nothing can be tried as it is. */
function settingsFor(
  { endpoint: { address, port } }: Aim,
  env: NodeJS.ProcessEnv,
  { first }: CheckOptions,
): Pick<Tried, 'protectedLength' | 'fingerprint'> {
  const destination = destinationOf(address.replace(/%.*/, ''), port);
  const { protectedLength = 0, targets = ALL_TARGETS, secret } = loadLocalSettings(env, destination);
  if (!matchesDestination(targets, destination))
    throw new ConfigError(
      `KNOCK_TARGETS leaves ${address} port ${port} out: programs connect there without a token`,
    );
  if (protectedLength > (first?.length ?? 0))
    throw new ConfigError(
      `KNOCK_INTLEN is ${protectedLength}: the token covers the first ${protectedLength} bytes that the client sends, so it takes as many to try it; add what a client says there: --send TEXT or --send-hex HEX`,
    );
  return { protectedLength, fingerprint: secret && fingerprintOf(env, destination) };
}

function fingerprintOf(env: NodeJS.ProcessEnv, destination: Destination): string {
  const { secret } = loadLocalPolicy(env, destination);
  try {
    return fingerprint(secret);
  } finally {
    secret.fill(0);
  }
}

/** What is closed to the secret too may be hidden or not there. */
const HIDDEN = new Map<number, boolean>([
  [STATUS.good, true],
  [STATUS.open, false],
]);

function report(aim: Aim, tried: Tried, { json }: CheckOptions): number {
  const verdict = judge(tried);
  const { plain, stealth, protectedLength, fingerprint } = tried;
  if (json) {
    const { address, port } = aim.endpoint;
    const found = { plain: plain.answer, stealth: stealth?.answer ?? null };
    const hidden = HIDDEN.get(verdict.status) ?? null;
    const set = { intlen: protectedLength, fingerprint: fingerprint ?? null };
    const { text, advice, status } = verdict;
    const whole = { host: aim.host, address, port, ...found, hidden, ...set, verdict: text, advice, status };
    process.stdout.write(`${JSON.stringify(whole)}\n`);
    return status;
  }
  const rows = [
    ['without the secret', outcomeText(plain)],
    ['with the secret', outcomeText(stealth)],
  ];
  process.stdout.write(`${aimText(aim)}\n${table(rows)}\n${verdictText(proseOf(process.stdout), verdict)}\n`);
  return verdict.status;
}
