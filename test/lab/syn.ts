import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken, integrityHash } from '../../ts/stealth/token.ts';
import type { Packet } from './packets.ts';

/** A captured SYN taken apart against a secret. */
export interface TakenApart {
  /** TSval of the SYN, 0 without the option. */
  readonly tsval: number;
  /** Computed from the payload; undefined without one. */
  readonly integrityHash: number | undefined;
  readonly authenticator: number;
  /** The ISN that the secret demands. */
  readonly computed: number;
  /** The ISN on the wire. */
  readonly onTheWire: number;
}

/** `protectedBytes` are the first bytes of the payload that follows; absent in auth mode. */
export function takeApart(syn: Packet, secret: string, protectedBytes?: Uint8Array): TakenApart {
  const padded = padSecret(Buffer.from(secret));
  const hash = protectedBytes === undefined ? undefined : integrityHash(padded, protectedBytes);
  const token = computeToken({
    secret: padded,
    destination: destinationOf(syn.destination, syn.destinationPort),
    tsval: syn.tsval ?? 0,
    ...(hash === undefined ? {} : { integrityHash: hash }),
  });
  return {
    tsval: syn.tsval ?? 0,
    integrityHash: hash,
    authenticator: token.authenticator,
    computed: token.isn,
    onTheWire: syn.sequence,
  };
}

/**
 * Whether a SYN that was not made from the secret looks to an integrity listener as if it had been: that sees 16 bits
 * of the token (draft section 3.2), so one in 65,536 does. Its connection is reset before the program sees it.
 */
export function isGuess(syn: Packet, secret: string): boolean {
  const { isn } = computeToken({
    secret: padSecret(Buffer.from(secret)),
    destination: destinationOf(syn.destination, syn.destinationPort),
    tsval: syn.tsval ?? 0,
    integrityHash: syn.sequence & 0xffff,
  });
  return isn === syn.sequence;
}

/** The first bytes of what a SYN's connection sent, as far as its first segment goes. */
export function firstSegmentAfter(syn: Packet, packets: readonly Packet[]): Buffer {
  const first = packets.find(
    (packet) =>
      packet.length > 0 &&
      packet.sourcePort === syn.sourcePort &&
      packet.destinationPort === syn.destinationPort &&
      packet.sequence === (syn.sequence + 1) >>> 0,
  );
  return Buffer.from(first?.payload ?? '', 'hex');
}
