import { destinationOf } from '../../stealth/destination.ts';
import { computeToken } from '../../stealth/token.ts';
import type { Arrival } from './exchange.ts';

/** What this end knows of the SYN that it sent. */
export interface Departure {
  readonly secret: Uint8Array;
  /** Numeric. */
  readonly address: string;
  readonly port: number;
  /** False where net.ipv4.tcp_timestamps is 0. */
  readonly timestamps: boolean;
  /** TSval of the connection a moment after connect(2), and how long ago that was called at most. Milliseconds. */
  readonly tsval: number;
  readonly elapsed: number;
}

export type Change =
  | 'destination address translated'
  | 'destination port translated'
  | 'sequence number rewritten'
  | 'timestamp rewritten'
  | 'timestamp removed'
  | 'timestamp added';

export interface Comparison {
  readonly changes: readonly Change[];
  /** What left, as far as what arrived and the clock tell; undefined where they don't, null for no timestamp. */
  readonly sent: { readonly isn: number | undefined; readonly tsval: number | null | undefined };
}

/** Timestamps tick every millisecond, and the two readings of the clock are not quite of one moment. */
const SLACK = 1_000;

/**
 * Compares a SYN that left with the token to its own destination with what arrived. Nobody noted its T: it is one of those that
 * the connection's clock showed since connect(2), and the token tells which. What arrived unchanged fits together; what
 * does not is found out piece by piece.
 */
export function compare(departure: Departure, arrival: Arrival): Comparison {
  const changes: Change[] = [];
  const { address, port } = departure;
  if (!sameAddress(address, arrival.destination)) changes.push('destination address translated');
  if (port !== arrival.destinationPort) changes.push('destination port translated');
  if (
    tokenOf(departure, arrival.tsval ?? 0) === arrival.isn &&
    departure.timestamps === hasTimestamp(arrival)
  )
    return { changes, sent: { isn: arrival.isn, tsval: arrival.tsval ?? null } };
  return pieceByPiece(departure, arrival, changes);
}

function pieceByPiece(departure: Departure, arrival: Arrival, changes: Change[]): Comparison {
  const { tsval: seen, isn } = arrival;
  if (!departure.timestamps) {
    const sent = tokenOf(departure, 0);
    if (sent !== isn) changes.push('sequence number rewritten');
    if (seen !== undefined) changes.push('timestamp added');
    return { changes, sent: { isn: sent, tsval: null } };
  }
  const T = candidates(departure).find((candidate) => tokenOf(departure, candidate) === isn);
  const intact = seen !== undefined && candidates(departure).includes(seen);
  if (T === undefined) changes.push('sequence number rewritten');
  if (seen === undefined) changes.push('timestamp removed');
  else if (T !== undefined ? T !== seen : !intact) changes.push('timestamp rewritten');
  if (T !== undefined) return { changes, sent: { isn, tsval: T } };
  return intact
    ? { changes, sent: { isn: tokenOf(departure, seen), tsval: seen } }
    : { changes, sent: { isn: undefined, tsval: undefined } };
}

function hasTimestamp({ tsval }: Arrival): boolean {
  return tsval !== undefined;
}

function tokenOf({ secret, address, port }: Departure, tsval: number): number {
  return computeToken({ secret, destination: destinationOf(address, port), tsval }).isn;
}

/** Every T that the SYN can have had, the latest first. */
function candidates({ tsval, elapsed }: Departure): number[] {
  return Array.from({ length: elapsed + 2 * SLACK }, (_, ago) => (tsval + SLACK - ago) >>> 0);
}

function sameAddress(one: string, other: string): boolean {
  const [a, b] = [destinationOf(one, 0).address, destinationOf(other, 0).address];
  return Buffer.compare(a, b) === 0;
}
