import { integrityHash } from '../../stealth/token.ts';
import { getBytes, peek, readReceiveSequence } from '../../sys/libc.ts';
import type { Inspection, Protection, SecretSlots } from '../engine.ts';
import type { FirstSegments } from './firstSegments.ts';

/** Offsets in struct tcp_info (linux/tcp.h). */
const TCP_INFO = { size: 160, bytesReceived: 128, dataSegmentsIn: 152 } as const;
/** Longest IP header with extensions and a TCP header; the kernel saves no more. */
const SAVED_SYN_BYTES = 1024;
const SEQUENCE_OFFSET = 4;

/** Where the TCP header is in the headers that TCP_SAVED_SYN returns; undefined if there is none. */
export function tcpHeaderOf(headers: Buffer): number | undefined {
  const version = (headers[0] ?? 0) >> 4;
  // A socket option can have put IPv6 extension headers in; they end where the TCP header, of known length, starts.
  return version === 4 ? ((headers[0] ?? 0) & 0xf) * 4 : version === 6 ? ipv6HeaderBytes(headers) : undefined;
}

/** The sequence number in the headers that TCP_SAVED_SYN returns; undefined if they are not there. */
export function isnOfSavedSyn(headers: Buffer): number | undefined {
  const start = tcpHeaderOf(headers);
  if (start === undefined || headers.length < start + SEQUENCE_OFFSET + 4) return undefined;
  return headers.readUInt32BE(start + SEQUENCE_OFFSET);
}

const IPV6_HEADER = 40;
const IPPROTO_TCP = 6;

/** Hop-by-hop options, routing and destination options. */
const IPV6_EXTENSIONS: readonly number[] = [0, 43, 60];

function ipv6HeaderBytes(headers: Buffer): number | undefined {
  let next = headers[6];
  let at = IPV6_HEADER;
  while (next !== undefined && IPV6_EXTENSIONS.includes(next)) {
    next = headers[at];
    at += 8 + 8 * (headers[at + 1] ?? 0);
  }
  return next === IPPROTO_TCP ? at : undefined;
}

interface Arrived {
  /** Sequence numbers used up since the SYN, modulo 2^32. */
  readonly bytes: number;
  readonly dataSegments: number;
}

function arrived(fd: number): Arrived {
  const info = getBytes(fd, 'TCP_INFO', TCP_INFO.size);
  return {
    bytes: Number(info.readBigUInt64LE(TCP_INFO.bytesReceived) & 0xffff_ffffn),
    dataSegments: info.readUInt32LE(TCP_INFO.dataSegmentsIn),
  };
}

/** How often the two readings are tried: whoever fills the socket and empties it again could keep us at it for ever. */
const TRIES = 8;

/**
 * Draft section 5: where SYN cookies took the SYN's place nothing was saved, but the ISN is what the receive
 * sequence started from. Segments go on arriving meanwhile: the two readings must be of the same moment. Undefined where they
 * never were.
 */
export function isnOfReadings(bytesOf: () => number, sequenceOf: () => number): number | undefined {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const bytes = bytesOf();
    const sequence = sequenceOf();
    if (bytesOf() === bytes) return (sequence - bytes - 1) >>> 0;
  }
  return undefined;
}

function isnOf(fd: number): number | undefined {
  return (
    isnOfSavedSyn(getBytes(fd, 'TCP_SAVED_SYN', SAVED_SYN_BYTES)) ??
    isnOfReadings(
      () => arrived(fd).bytes,
      () => readReceiveSequence(fd),
    )
  );
}

/** Where to look besides the socket. */
export interface Records {
  readonly firstSegments: FirstSegments;
  readonly slots: SecretSlots;
}

/**
 * Draft section 3.2: the first segment must hold the protected bytes, and they must hash to the lower half of the
 * ISN. How long it was is on record, however many more have arrived since; without a record (`FirstSegments` says
 * when) it is known only while there was no other, and of a longer stream just the bytes are checked.
 */
export function inspect(fd: number, protection: Protection, { firstSegments, slots }: Records): Inspection {
  const { protectedLength } = protection;
  const { bytes, dataSegments } = arrived(fd);
  const payload = peek(fd, protectedLength);
  // A segment that overtook the first one is not readable yet. The end of the stream counts as a byte.
  if (bytes === 0 && payload.length < protectedLength)
    return { pass: false, reason: 'no first segment', pending: true };
  const isn = isnOf(fd);
  if (isn === undefined) return { pass: false, reason: 'segments arrived without a pause', pending: true };
  const record = firstSegments.recordOf(fd, isn);
  const slot = record?.slot || undefined;
  const first = record?.first || (dataSegments === 1 ? bytes : payload.length);
  const length = Math.min(first, payload.length);
  if (length < protectedLength)
    return { pass: false, reason: `short first segment: ${length} of ${protectedLength} bytes`, slot };
  const secret = slot === undefined ? ownSecret(protection, record !== undefined) : slots.read(slot);
  if (secret === undefined)
    return { pass: false, reason: 'the secret of its SYN was revoked, or is not known any more', slot };
  const matches = integrityHash(secret, payload) === (isn & 0xffff);
  if (slot !== undefined) secret.fill(0);
  return matches ? { pass: true, slot } : { pass: false, reason: 'wrong first bytes', slot };
}

/** Without a record it is the listener's own for sure only where no other is accepted: to try them all would let more bytes by. */
function ownSecret({ secret, named = false }: Protection, onRecord: boolean): Uint8Array | undefined {
  return named && !onRecord ? undefined : secret;
}
