import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Host, inside, type Lab } from './netns.ts';
import { decode, type Packet, readFrames } from './packets.ts';
import { type Program, start, until, untilSays } from './program.ts';

/** A running tcpdump on one end of the lab. */
export interface Capture {
  /** Packets until now. */
  seen(): number;
  /** Everything until now, decoded. The capture ends. */
  stop(): Promise<Packet[]>;
}

const MARK_PORT = 9;
/** Milliseconds. */
const MARK_EVERY = 500;
let captures = 0;

/**
 * Captures the TCP of one host's interface. Returns once tcpdump listens. `beyond` is an IPv4 address that `host` reaches
 * through that interface.
 */
export async function startCapture(
  lab: Lab,
  host: Host = lab.client,
  filter = 'tcp',
  beyond: string = (host === lab.client ? lab.server : lab.client).addresses.ipv4,
): Promise<Capture> {
  const file = join(lab.directory, `capture-${captures++}.pcap`);
  const tcpdump = start(host, [
    'tcpdump',
    ...[
      '-i',
      host.device,
      '-n',
      '-s',
      '0',
      '-U',
      '--immediate-mode',
      '-B',
      '32768',
      '-Z',
      'root',
      '-w',
      file,
    ],
    `(${filter}) or (udp and dst port ${MARK_PORT})`,
  ]);
  await untilSays(tcpdump, 'listening on');
  return { seen: () => readFrames(file).length, stop: () => finishCapture(host, beyond, tcpdump, file) };
}

/**
 * tcpdump drops what it has not read yet when it is told to end: a datagram that is sent last and seen in the
 * file shows that everything before it is there, too.
 */
async function finishCapture(host: Host, beyond: string, tcpdump: Program, file: string): Promise<Packet[]> {
  // Programs end before their connections do: FIN and ACK follow within the round trip.
  await sleep(60);
  const mark = `end-of-${file}`;
  let sentAt = Number.NEGATIVE_INFINITY;
  await until('the end of the capture', () => {
    // Again and again: the interface may be one that loses things.
    if (performance.now() - sentAt > MARK_EVERY) {
      inside(host, ['bash', '-c', `printf %s '${mark}' >/dev/udp/${beyond}/${MARK_PORT}`]);
      sentAt = performance.now();
    }
    return readFileSync(file).includes(mark);
  });
  tcpdump.child.kill('SIGINT');
  if (tcpdump.isRunning()) await once(tcpdump.child, 'close');
  return (await decode(file)).filter(({ frame }) => !frame.includes(mark));
}

/** Captures what happens while `work` runs. */
export async function capturing<T>(
  lab: Lab,
  work: (capture: Capture) => Promise<T>,
  options: { host?: Host; filter?: string; beyond?: string } = {},
): Promise<{ result: T; packets: Packet[] }> {
  const capture = await startCapture(lab, options.host, options.filter, options.beyond);
  try {
    const result = await work(capture);
    return { result, packets: await capture.stop() };
  } catch (error) {
    await capture.stop().catch(() => {});
    throw error;
  }
}
