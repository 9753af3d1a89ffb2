import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken } from '../../ts/stealth/token.ts';
import { type Lab, openLab } from '../lab/netns.ts';
import { sendProbes } from '../lab/probes.ts';
import { startGuarded, startWorker, type Worker } from './remote.ts';

/** How the guard reads a SYN, by SYNs that no Linux client sends. */

const secret = padSecret(Buffer.from('Magic secret string'));
const PORT = 4242;
const T = 0x11223344;
const OTHER = 0x55667788;

const stamp = (tsval: number) => `080a${tsval.toString(16).padStart(8, '0')}00000000`;

let lab: Lab;
let server: Worker;

beforeAll(async () => {
  lab = openLab();
  server = await startWorker(lab.server);
  await server.app.startEngine();
  await startGuarded(server, 'ipv6', PORT, secret);
});
afterAll(async () => {
  await server?.stop();
  lab?.close();
});

/** Options as hex, and the T that the kernel would read from them. */
const LAYOUTS = [
  { description: 'none', options: '', tsval: 0 },
  { description: 'as Linux sends them', options: `020405b40402${stamp(T)}01030307`, tsval: T },
  { description: 'as Linux sends them without SACK', options: `020405b40101${stamp(T)}01030307`, tsval: T },
  { description: 'as Linux sends them without window scale', options: `020405b40402${stamp(T)}`, tsval: T },
  { description: 'almost as Linux sends them', options: `020405b40402${stamp(T)}01030201`, tsval: T },
  { description: 'timestamp first, at an odd offset', options: `01${stamp(T)}00`, tsval: T },
  { description: 'behind an unknown option', options: `fd06cafecafe${stamp(T)}`, tsval: T },
  { description: 'behind 28 bytes of padding', options: `${'01'.repeat(28)}0101${stamp(T)}`, tsval: T },
  { description: 'twice: the last counts', options: `${stamp(OTHER)}${stamp(T)}`, tsval: T },
  { description: 'behind the end of the list', options: `0000${stamp(T)}`, tsval: 0 },
  { description: 'behind an option of length 0', options: `0500${stamp(T)}`, tsval: 0 },
  { description: 'behind an option of length 1', options: `0501${stamp(T)}`, tsval: 0 },
  { description: 'of the wrong length', options: '0806112233440101', tsval: 0 },
  { description: 'running over the end', options: '0101080a11223344', tsval: 0 },
  { description: 'behind an option that runs over the end', options: `0528${stamp(T)}`, tsval: 0 },
  { description: 'its kind as the last byte', options: '01010108', tsval: 0 },
  { description: 'nothing but padding', options: '01'.repeat(40), tsval: 0 },
] as const;

let sourcePort = 20_000;

describe.each(['ipv4', 'ipv6'] as const)('%s', (family) => {
  test.each(LAYOUTS)('options $description', async ({ options, tsval }) => {
    const destination = destinationOf(lab.server.addresses[family], PORT);
    const right = computeToken({ secret, destination, tsval }).isn;
    const wrong = computeToken({ secret, destination, tsval: tsval === T ? 0 : T }).isn;
    const probes = [right, wrong].map((sequence) => {
      return { family, sourcePort: sourcePort++, destinationPort: PORT, flags: 'S', sequence, options };
    });
    const packets = await sendProbes(lab, probes);
    const answers = probes.map(
      (probe) => packets.find((packet) => packet.destinationPort === probe.sourcePort)?.flags,
    );
    expect(answers).toEqual(['SA', 'RA']);
  });

  test.each(['SF', 'SR', 'SA', 'SFA', 'SRA'])('the token in a segment with %s is no knock', async (flags) => {
    const destination = destinationOf(lab.server.addresses[family], PORT);
    const { isn: sequence } = computeToken({ secret, destination, tsval: 0 });
    const probe = { family, flags, sequence, acknowledgment: 7 } as const;
    const packets = await sendProbes(lab, [
      { ...probe, sourcePort: sourcePort++, destinationPort: PORT },
      { ...probe, sourcePort: sourcePort++, destinationPort: 4 },
    ]);
    const answersFrom = (port: number) =>
      packets
        .filter((packet) => packet.sourcePort === port)
        .map((packet) => [packet.flags, packet.sequence, packet.acknowledgment]);
    expect(answersFrom(PORT)).toEqual(answersFrom(4));
  });
});
