import { readFileSync } from 'node:fs';
import { destinationOf } from '../../stealth/destination.ts';
import { loadLocalPolicy } from '../localPolicy.ts';
import { showingProgress } from '../progress.ts';
import { Unprotected } from '../run.ts';
import { proseOf } from '../terminal.ts';
import { type Arrival, greet, understand } from './exchange.ts';
import { compare, type Departure } from './path.ts';
import { comparisonTable, verdictText } from './report.ts';
import {
  type Aim,
  aimText,
  type CheckOptions,
  knockAsProgram,
  outcomeOf,
  programEnvironment,
} from './setup.ts';
import type { Knocked } from './stealth.ts';
import { judgePath } from './verdict.ts';

const EVERYWHERE = '0.0.0.0/0,::/0';

/** Compares a SYN with a token as it left with what arrived at a `knockify check --listen`. Returns the exit status. */
export async function checkPath(aim: Aim, options: CheckOptions): Promise<number> {
  const env = programEnvironment({ ...options, intlen: '0', targets: EVERYWHERE });
  const { address, port } = aim.endpoint;
  const { secret } = loadLocalPolicy(env, destinationOf(address.replace(/%.*/, ''), port));
  try {
    const { line, nonce } = greet(secret);
    const task = {
      ...{ address, port, timeout: options.timeout * 1000, line: true },
      first: Buffer.from(line).toString('hex'),
    };
    const knocked = await showingProgress('waiting for the other end', knockAsProgram(task, env));
    const arrival = arrivalOf(secret, nonce, knocked);
    const departure = {
      secret,
      address: address.replace(/%.*/, ''),
      port,
      timestamps: hasTimestamps(),
      ...clockOf(knocked),
    };
    return report(aim, departure, { knocked, arrival }, options);
  } finally {
    secret.fill(0);
  }
}

function clockOf({ tsval, elapsed }: Knocked): Pick<Departure, 'tsval' | 'elapsed'> {
  return { tsval, elapsed };
}

function hasTimestamps(): boolean {
  return readFileSync('/proc/sys/net/ipv4/tcp_timestamps', 'latin1').trim() !== '0';
}

const LISTEN = "start 'knockify check --listen PORT' there";

/** Throws Unprotected where the other end tells nothing. */
function arrivalOf(secret: Uint8Array, nonce: string, knocked: Knocked): Arrival {
  const { answer } = outcomeOf(knocked);
  if (answer === 'closed') throw new Unprotected(`nothing listens at the other end: ${LISTEN}`);
  if (answer === 'filtered' || answer === 'unreachable')
    throw new Unprotected(
      `no answer from the other end: is the port open in its firewall, for the time being?`,
    );
  const understood = understand(secret, nonce, knocked.line ?? '');
  switch (understood.kind) {
    case 'report':
      return understood.arrival;
    case 'no SYN':
      throw new Unprotected('the other end has answered with a SYN cookie and kept no SYN: try again');
    case 'refused':
      throw new Unprotected(
        "the other end has another secret: compare the fingerprints that 'knockify doctor' shows",
      );
    case 'foreign':
      throw new Unprotected(`something else listens at the other end: ${LISTEN}`);
  }
}

interface Seen {
  readonly knocked: Knocked;
  readonly arrival: Arrival;
}

function report(aim: Aim, departure: Departure, { knocked, arrival }: Seen, { json }: CheckOptions): number {
  const comparison = compare(departure, arrival);
  const verdict = judgePath(comparison);
  const { address, port } = departure;
  if (json) {
    const { changes, sent } = comparison;
    const { text, advice, status } = verdict;
    const whole = {
      host: aim.host,
      address,
      port,
      changes,
      sent,
      arrived: arrival,
      verdict: text,
      advice,
      status,
    };
    process.stdout.write(`${JSON.stringify(whole)}\n`);
    return status;
  }
  const { localAddress, localPort } = knocked;
  const from = localAddress === undefined ? undefined : { address: localAddress, port: localPort ?? 0 };
  const lines = [
    `the way to ${aimText(aim)}`,
    comparisonTable({ address, port }, from, comparison, arrival),
    verdictText(proseOf(process.stdout), verdict),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  return verdict.status;
}
