import { computeToken, integrityHash } from '../../stealth/token.ts';
import { getUint } from '../../sys/libc.ts';
import { type ArmedToken, EngineError, type Peer } from '../engine.ts';
import { endpointOf, wireAddress } from '../socket.ts';

/** Timestamps tick every millisecond; this is plenty of readings for one tick, and then for a few more. */
const TICK_READINGS = 100_000;

/** What the token is made of. */
export interface Ingredients {
  readonly peer: Peer;
  readonly secret: Uint8Array;
  readonly payload: Uint8Array | undefined;
  /** `struct sockaddr` of the socket's own end. */
  readonly source: Uint8Array;
  /** A reading of TCP_TIMESTAMP of a moment ago. */
  readonly tsval: number;
  /** False where net.ipv4.tcp_timestamps is 0: TCP_TIMESTAMP has a value, but the SYN won't carry it. */
  readonly timestamps: boolean;
}

/**
 * The token of a deferred socket. A sequence number of 0 would mean "choose one" to the kernel: then the
 * next tick of the timestamp clock has another one.
 */
export function currentToken(fd: number, ingredients: Ingredients): ArmedToken {
  const { peer, secret, payload, source, timestamps } = ingredients;
  const destination = { address: wireAddress(peer, endpointOf(source).address), port: peer.port };
  const hash = payload === undefined ? undefined : integrityHash(secret, payload);
  let tsval = timestamps ? ingredients.tsval : 0;
  for (let reading = 0; reading < TICK_READINGS; reading++) {
    const { isn } = computeToken({ secret, destination, tsval, integrityHash: hash });
    if (isn !== 0) return { isn, tsval };
    if (!timestamps) break;
    tsval = getUint(fd, 'TCP_TIMESTAMP');
  }
  throw new EngineError(
    `the token for this destination is 0, which the kernel can't send; ${timestamps ? 'try again' : 'turn net.ipv4.tcp_timestamps on or choose another secret'}`,
  );
}
