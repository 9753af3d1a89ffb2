import { integrityHash } from '../../stealth/token.ts';
import { getBytes, peek, readReceiveSequence } from '../../sys/libc.ts';
import type { Inspection, Protection } from '../engine.ts';

/** Offsets in struct tcp_info (linux/tcp.h). */
const TCP_INFO = { size: 160, bytesReceived: 128, dataSegmentsIn: 152 } as const;
/** Longest IP header with extensions and a TCP header; the kernel saves no more. */
const SAVED_SYN_BYTES = 1024;
const SEQUENCE_OFFSET = 4;

/** The sequence number in the headers that TCP_SAVED_SYN returns; undefined if they are not there. */
export function isnOfSavedSyn(headers: Buffer): number | undefined {
  const version = (headers[0] ?? 0) >> 4;
  // A socket option can have put IPv6 extension headers in; they end where the TCP header, of known length, starts.
  const start =
    version === 4 ? ((headers[0] ?? 0) & 0xf) * 4 : version === 6 ? ipv6HeaderBytes(headers) : undefined;
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

/**
 * Draft section 5: where SYN cookies took the SYN's place nothing was saved, but the ISN is what the receive
 * sequence started from. Segments go on arriving meanwhile: the two readings must be of the same moment.
 */
function isnOf(fd: number): number {
  const saved = isnOfSavedSyn(getBytes(fd, 'TCP_SAVED_SYN', SAVED_SYN_BYTES));
  if (saved !== undefined) return saved;
  for (;;) {
    const { bytes } = arrived(fd);
    const sequence = readReceiveSequence(fd);
    if (arrived(fd).bytes === bytes) return (sequence - bytes - 1) >>> 0;
  }
}

/**
 * Draft section 3.2: the first segment must hold the protected bytes, and they must hash to the lower half of the
 * ISN. Where more than one segment has arrived, the kernel no longer tells how long the first one was.
 */
export function inspect(fd: number, { secret, protectedLength }: Protection): Inspection {
  const first = arrived(fd);
  const payload = peek(fd, protectedLength);
  const length = first.dataSegments === 1 ? Math.min(first.bytes, payload.length) : payload.length;
  if (length < protectedLength) {
    const reason = `short first segment: ${length} of ${protectedLength} bytes`;
    return first.dataSegments === 0 ? { pass: false, reason, pending: true } : { pass: false, reason };
  }
  const hash = isnOf(fd) & 0xffff;
  if (integrityHash(secret, payload) !== hash) return { pass: false, reason: 'wrong first bytes' };
  return { pass: true };
}
