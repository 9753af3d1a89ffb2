import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { patient } from './slowness.ts';

/** A captured packet as tshark reads it. Sequence numbers are the ones on the wire. */
export interface Packet {
  /** Seconds since the epoch. */
  readonly time: number;
  readonly isTcp: boolean;
  readonly version: 4 | 6;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** `S`, `SA`, `A`, `PA`, `FA`, `R`, `RA`, …: the letters of FIN, SYN, RST, PSH, ACK, URG, ECE, CWR. */
  readonly flags: string;
  readonly sequence: number;
  readonly acknowledgment: number;
  /** Without the timestamp option: undefined. */
  readonly tsval: number | undefined;
  readonly tsecr: number | undefined;
  /** As in the header, not scaled. */
  readonly window: number;
  readonly mss: number | undefined;
  /** The option bytes in order, as hex. */
  readonly options: string;
  /** As hex. */
  readonly payload: string;
  /** Bytes of payload. */
  readonly length: number;
  /** TTL or hop limit. */
  readonly ttl: number;
  /** Flags and fragment offset, and identification; 0 in IPv6. */
  readonly ipFlags: number;
  readonly ipId: number;
  /** Type of service or traffic class. */
  readonly trafficClass: number;
  readonly flowLabel: number;
  readonly checksum: 'good' | 'bad' | 'unverified';
  /** The whole frame, from the Ethernet header on. */
  readonly frame: Buffer;
}

const FIELDS = [
  'frame.number',
  'frame.time_epoch',
  'ip.src',
  'ip.dst',
  'ipv6.src',
  'ipv6.dst',
  'tcp.srcport',
  'tcp.dstport',
  'tcp.flags',
  'tcp.seq',
  'tcp.ack',
  'tcp.options.timestamp.tsval',
  'tcp.options.timestamp.tsecr',
  'tcp.window_size_value',
  'tcp.options.mss_val',
  'tcp.options',
  'tcp.payload',
  'tcp.len',
  'ip.ttl',
  'ipv6.hlim',
  'ip.flags',
  'ip.id',
  'ip.dsfield',
  'ipv6.tclass',
  'ipv6.flow',
  'tcp.checksum.status',
] as const;

type Row = Readonly<Record<(typeof FIELDS)[number], string>>;

/** Reads a capture file with tshark. */
export async function decode(file: string): Promise<Packet[]> {
  const { stdout } = await promisify(execFile)(
    'tshark',
    [
      ...['-n', '-r', file, '-T', 'fields', '-E', 'separator=/t', '-E', 'occurrence=f'],
      ...['-o', 'tcp.relative_sequence_numbers:FALSE', '-o', 'tcp.check_checksum:TRUE'],
      ...['-o', 'tcp.desegment_tcp_streams:FALSE', '-o', 'tcp.analyze_sequence_numbers:FALSE'],
      ...FIELDS.flatMap((field) => ['-e', field]),
    ],
    { maxBuffer: 1 << 29, timeout: patient(60_000) },
  );
  const frames = readFrames(file);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => packetOf(line, frames));
}

function packetOf(line: string, frames: readonly Buffer[]): Packet {
  const values = line.split('\t');
  const row = Object.fromEntries(FIELDS.map((field, index) => [field, values[index] ?? ''])) as Row;
  const version = row['ip.src'] === '' ? 6 : 4;
  return {
    time: Number(row['frame.time_epoch']),
    isTcp: row['tcp.srcport'] !== '',
    version,
    source: row['ip.src'] || row['ipv6.src'],
    destination: row['ip.dst'] || row['ipv6.dst'],
    sourcePort: Number(row['tcp.srcport']),
    destinationPort: Number(row['tcp.dstport']),
    flags: flagLetters(Number(row['tcp.flags'])),
    sequence: Number(row['tcp.seq']),
    acknowledgment: Number(row['tcp.ack']),
    tsval: optional(row['tcp.options.timestamp.tsval']),
    tsecr: optional(row['tcp.options.timestamp.tsecr']),
    window: Number(row['tcp.window_size_value']),
    mss: optional(row['tcp.options.mss_val']),
    options: row['tcp.options'].replaceAll(':', ''),
    payload: row['tcp.payload'].replaceAll(':', ''),
    length: Number(row['tcp.len']),
    ttl: Number(row['ip.ttl'] || row['ipv6.hlim']),
    ipFlags: Number(row['ip.flags']),
    ipId: Number(row['ip.id']),
    trafficClass: Number(row['ip.dsfield'] || row['ipv6.tclass']),
    flowLabel: Number(row['ipv6.flow']),
    checksum: checksumStatus(row['tcp.checksum.status']),
    frame: frames[Number(row['frame.number']) - 1] ?? Buffer.alloc(0),
  };
}

function optional(text: string): number | undefined {
  return text === '' ? undefined : Number(text);
}

/** Low bits first, SYN before ACK as everybody writes it. */
export function flagLetters(bits: number): string {
  const letters = [...'FSRPAUEC'].filter((_, bit) => bits & (1 << bit));
  return letters.join('');
}

function checksumStatus(text: string): Packet['checksum'] {
  if (text === '1') return 'good';
  return text === '0' ? 'bad' : 'unverified';
}

const FILE_HEADER = 24;
const RECORD_HEADER = 16;

/** The complete frames of a capture file in this machine's byte order. */
export function readFrames(file: string): Buffer[] {
  const bytes = readFileSync(file);
  const frames: Buffer[] = [];
  for (let at = FILE_HEADER; at + RECORD_HEADER <= bytes.length; ) {
    const length = bytes.readUInt32LE(at + 8);
    const end = at + RECORD_HEADER + length;
    if (end <= bytes.length) frames.push(bytes.subarray(at + RECORD_HEADER, end));
    at = end;
  }
  return frames;
}

/** SYNs without ACK. */
export function syns(packets: readonly Packet[]): Packet[] {
  return packets.filter((packet) => packet.flags === 'S');
}

/** What an observer sees of a conversation's shape: direction, flags and payload length of each packet. */
export function shape(packets: readonly Packet[], serverPort: number): string[] {
  return packets
    .filter((packet) => packet.sourcePort === serverPort || packet.destinationPort === serverPort)
    .map((packet) => `${packet.destinationPort === serverPort ? '>' : '<'} ${packet.flags} ${packet.length}`);
}
