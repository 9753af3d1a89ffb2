import { fileURLToPath } from 'node:url';
import { capturing } from './capture.ts';
import type { Lab } from './netns.ts';
import type { Packet } from './packets.ts';
import { type Program, PYTHON, run, start, untilSays } from './program.ts';

/** One TCP packet from the client, made by hand. */
export interface Probe {
  readonly family: 'ipv4' | 'ipv6';
  /** One of the client's addresses; its first, unless given. */
  readonly source?: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Letters as in `Packet.flags`. */
  readonly flags: string;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  readonly window?: number;
  /** Hex, a multiple of four bytes. */
  readonly options?: string;
  /** Hex. */
  readonly payload?: string;
  /** In words of four bytes; the right one, unless given. */
  readonly dataOffset?: number;
  readonly badChecksum?: boolean;
}

const SCRIPT = fileURLToPath(new URL('probe.py', import.meta.url));

/** Between two probes, where order is to tell whose an answer is. Seconds. */
const PAUSE = 0.003;

/** Sends the probes in order, one after the other, with so many seconds in between. */
export async function sendAll(lab: Lab, probes: readonly Probe[], pause = PAUSE): Promise<void> {
  const input = probes.map((probe) =>
    JSON.stringify({
      source: lab.client.addresses[probe.family],
      destination: lab.server.addresses[probe.family],
      ...probe,
    }),
  );
  const outcome = await run(lab.client, [PYTHON, SCRIPT, String(pause)], { input: input.join('\n') });
  if (outcome.status !== 0) throw new Error(outcome.stderr);
}

/** Sends the probes and returns everything that was on the client's wire meanwhile. */
export async function sendProbes(lab: Lab, probes: readonly Probe[]): Promise<Packet[]> {
  const { packets } = await capturing(lab, () => sendAll(lab, probes));
  return packets;
}

/** Sends thousands of probes at once and returns the answers to their source ports, which must be all in `ports`. */
export async function sendBatch(
  lab: Lab,
  probes: readonly Probe[],
  ports: { readonly first: number; readonly last: number },
): Promise<Packet[]> {
  const filter = `tcp and ether src ${lab.server.mac} and tcp dst portrange ${ports.first}-${ports.last}`;
  const { packets } = await capturing(lab, () => sendAll(lab, probes, 0), { filter });
  return packets;
}

const FLOOD = fileURLToPath(new URL('flood.py', import.meta.url));

/** Sends the probes over and over, from whatever source addresses they name, until it is stopped. */
export async function startFlood(lab: Lab, probes: readonly Probe[]): Promise<Program> {
  const input = probes.map((probe) =>
    JSON.stringify({ destination: lab.server.addresses[probe.family], ...probe }),
  );
  const command = [PYTHON, '-u', FLOOD, lab.client.device, lab.client.mac, lab.server.mac];
  const flood = start(lab.client, command, { input: input.join('\n') });
  await untilSays(flood, 'flooding');
  return flood;
}

/** An answer's bytes, without what must differ: Ethernet header, ports and checksum. */
export function comparable(packet: Packet): string {
  const bytes = Buffer.from(packet.frame.subarray(14));
  const tcp = packet.version === 4 ? ((bytes[0] ?? 0) % 16) * 4 : 40;
  bytes.fill(0, tcp, tcp + 4);
  bytes.fill(0, tcp + 16, tcp + 18);
  // Derived from the ports.
  if (packet.version === 4) bytes.fill(0, 10, 12);
  else if (packet.flowLabel !== 0) bytes.fill(0xff, 1, 4);
  return bytes.toString('hex');
}

/** A timestamp option as Linux puts it into a SYN that has no SACK: two NOPs before it. */
export function timestampOption(tsval: number, tsecr = 0): string {
  const hex = (value: number) => value.toString(16).padStart(8, '0');
  return `0101080a${hex(tsval)}${hex(tsecr)}`;
}
