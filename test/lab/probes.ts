import { fileURLToPath } from 'node:url';
import { capturing } from './capture.ts';
import type { Lab } from './netns.ts';
import type { Packet } from './packets.ts';
import { PYTHON, run } from './program.ts';

/** One TCP packet from the client, made by hand. */
export interface Probe {
  readonly family: 'ipv4' | 'ipv6';
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
}

const SCRIPT = fileURLToPath(new URL('probe.py', import.meta.url));

/** Sends the probes in order and returns everything that was on the client's wire meanwhile. */
export async function sendProbes(lab: Lab, probes: readonly Probe[]): Promise<Packet[]> {
  const input = probes.map((probe) =>
    JSON.stringify({
      ...probe,
      source: lab.client.addresses[probe.family],
      destination: lab.server.addresses[probe.family],
    }),
  );
  const { packets } = await capturing(lab, async () => {
    const outcome = await run(lab.client, [PYTHON, SCRIPT], { input: input.join('\n') });
    if (outcome.status !== 0) throw new Error(outcome.stderr);
  });
  return packets;
}

/** A timestamp option as Linux puts it into a SYN that has no SACK: two NOPs before it. */
export function timestampOption(tsval: number, tsecr = 0): string {
  const hex = (value: number) => value.toString(16).padStart(8, '0');
  return `0101080a${hex(tsval)}${hex(tsecr)}`;
}
