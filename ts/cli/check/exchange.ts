import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/*
 * What the two ends of a path check say to each other: a line from the client with a number of its own choice, and a
 * line back with the SYN as it arrived. Both are authenticated with the secret, so that nobody else is told anything,
 * and no report is believed that was made on the way.
 */

/** A SYN as it arrived. */
export interface Arrival {
  /** Numeric; the source may be a NAT's. */
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly isn: number;
  /** Undefined without the timestamp option. */
  readonly tsval?: number;
}

export const LONGEST_LINE = 512;

const NAME = 'knockify-check 1';
const NONCE_BYTES = 16;
const REFUSED = 'refused';

function authenticated(secret: Uint8Array, role: 'client' | 'server', ...parts: readonly string[]): string {
  const key = createHmac('sha256', secret).update(NAME).digest();
  return createHmac('sha256', key)
    .update([role, ...parts].join('\n'))
    .digest('hex');
}

function equal(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** What the client says, and what it must keep to understand the answer. */
export function greet(secret: Uint8Array): { readonly line: string; readonly nonce: string } {
  const nonce = randomBytes(NONCE_BYTES).toString('hex');
  return { line: `${NAME} ${nonce} ${authenticated(secret, 'client', nonce)}\n`, nonce };
}

/** The answer to a client's line; `arrival` is asked for only where the client has the secret. */
export function answer(secret: Uint8Array, line: string, arrival: () => Arrival | undefined): string {
  const [, nonce, mac] = /^knockify-check 1 ([0-9a-f]{32}) ([0-9a-f]{64})$/.exec(line) ?? [];
  if (nonce === undefined || mac === undefined || !equal(mac, authenticated(secret, 'client', nonce)))
    return `${NAME} ${REFUSED}\n`;
  const report = JSON.stringify(arrival() ?? null);
  return `${NAME} ${authenticated(secret, 'server', nonce, report)} ${report}\n`;
}

export type Understood =
  | { readonly kind: 'report'; readonly arrival: Arrival }
  /** The other end has kept no SYN: SYN cookies were in its place. */
  | { readonly kind: 'no SYN' }
  /** The secrets differ. */
  | { readonly kind: 'refused' }
  /** Something else answers there. */
  | { readonly kind: 'foreign' };

export function understand(secret: Uint8Array, nonce: string, line: string): Understood {
  if (line === `${NAME} ${REFUSED}`) return { kind: 'refused' };
  const [, mac, report] = /^knockify-check 1 ([0-9a-f]{64}) (.+)$/.exec(line) ?? [];
  if (mac === undefined || report === undefined) return { kind: 'foreign' };
  if (!equal(mac, authenticated(secret, 'server', nonce, report))) return { kind: 'refused' };
  const arrival = JSON.parse(report) as Arrival | null;
  return arrival === null ? { kind: 'no SYN' } : { kind: 'report', arrival };
}
