import { tcpHeaderOf } from '../../engine/stock/inspection.ts';
import type { Arrival } from './exchange.ts';

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_TIMESTAMP = 8;
const TIMESTAMP_LENGTH = 10;
const TCP_HEADER = 20;

/** Takes the headers that TCP_SAVED_SYN returns apart; undefined if they are no TCP headers. */
export function readSavedSyn(headers: Buffer): Arrival | undefined {
  const start = tcpHeaderOf(headers);
  if (start === undefined || headers.length < start + TCP_HEADER) return undefined;
  const tcp = headers.subarray(start);
  const [source, destination] = (headers[0] ?? 0) >> 4 === 4 ? [12, 16] : [8, 24];
  const tsval = timestampOf(tcp.subarray(TCP_HEADER, ((tcp[12] ?? 0) >> 4) * 4));
  return {
    source: addressAt(headers, source, destination - source),
    sourcePort: tcp.readUInt16BE(0),
    destination: addressAt(headers, destination, destination - source),
    destinationPort: tcp.readUInt16BE(2),
    isn: tcp.readUInt32BE(4),
    ...(tsval !== undefined && { tsval }),
  };
}

function addressAt(headers: Buffer, at: number, length: number): string {
  const bytes = headers.subarray(at, at + length);
  if (length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** As the kernel and the guard read the list: the last timestamp counts, and what makes no sense ends it. */
function timestampOf(options: Buffer): number | undefined {
  let tsval: number | undefined;
  for (let at = 0; at < options.length; ) {
    const kind = options[at];
    if (kind === OPTION_END) break;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2 || at + length > options.length) break;
    if (kind === OPTION_TIMESTAMP && length === TIMESTAMP_LENGTH) tsval = options.readUInt32BE(at + 2);
    at += length;
  }
  return tsval;
}
