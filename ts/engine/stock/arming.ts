import { computeToken, integrityHash } from '../../stealth/token.ts';
import { getsockname, getUint, writeIsn } from '../../sys/libc.ts';
import { undoDeferral } from '../deferral.ts';
import { type ArmedToken, EngineError, type Peer } from '../engine.ts';
import { localAddress, wireAddress } from '../socket.ts';
import { type Mark, PHASE } from './layout.ts';
import type { Marks } from './marks.ts';
import { pinPort } from './port.ts';

/** Timestamps tick every millisecond; this is plenty of readings for one tick, and then for a few more. */
const TICK_READINGS = 100_000;

/** What goes into the token besides the connection itself. */
export interface Ingredients {
  readonly peer: Peer;
  readonly secret: Uint8Array;
  readonly payload: Uint8Array | undefined;
  /** False where net.ipv4.tcp_timestamps is 0: TCP_TIMESTAMP has a value, but the SYN won't carry it. */
  readonly timestamps: boolean;
}

/**
 * The token for the moment of the call. A sequence number of 0 would mean "choose one" to the kernel: then the
 * next tick of the timestamp clock has another one.
 */
function currentToken(fd: number, { peer, secret, payload, timestamps }: Ingredients): ArmedToken {
  const destination = { address: wireAddress(peer, localAddress(fd).address), port: peer.port };
  const hash = payload === undefined ? undefined : integrityHash(secret, payload);
  for (let reading = 0; reading < TICK_READINGS; reading++) {
    const tsval = timestamps ? getUint(fd, 'TCP_TIMESTAMP') : 0;
    const { isn } = computeToken({ secret, destination, tsval, integrityHash: hash });
    if (isn !== 0) return { isn, tsval };
    if (!timestamps) break;
  }
  throw new EngineError(
    `the token for this destination is 0, which the kernel can't send; ${timestamps ? 'try again' : 'turn net.ipv4.tcp_timestamps on or choose another secret'}`,
  );
}

/**
 * From deferred to armed. The mark is HOLD until the last step, so that whatever happens in between the socket
 * can't send a SYN.
 */
export function armDeferred(fd: number, ingredients: Ingredients, held: Mark, marks: Marks): ArmedToken {
  const source = getsockname(fd);
  const token = currentToken(fd, ingredients);
  undoDeferral(fd, held);
  writeIsn(fd, token.isn);
  pinPort(fd, source.readUInt16BE(2), source);
  if (getUint(fd, 'TCP_REPAIR') !== 0) throw new EngineError('the socket is still in repair mode');
  marks.write(fd, {
    ...held,
    phase: PHASE.armed,
    isn: token.isn,
    tsval: token.tsval,
    hasTimestamp: ingredients.timestamps ? 1 : 0,
    realTsval: token.tsval,
    seen: 0,
    refused: 0,
  });
  return token;
}
