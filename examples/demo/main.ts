/** The main job as a story: a web server that nobody sees, and plain curl that reaches it. Needs root. */
import { join } from 'node:path';
import { capturing } from '../../test/lab/capture.ts';
import { PAGE, urlOf, writeLighttpdConfig } from '../../test/lab/lighttpd.ts';
import { type Host, type Lab, openLab } from '../../test/lab/netns.ts';
import { type Packet, syns } from '../../test/lab/packets.ts';
import { type Program, stop, untilListening, untilSays } from '../../test/lab/program.ts';
import { firstSegmentAfter, takeApart } from '../../test/lab/syn.ts';
import {
  bold,
  chapter,
  claim,
  failed,
  line,
  quote,
  showExport,
  tell,
  typed,
  typedInBackground,
} from './stage.ts';

const PORT = 8080;
const NEIGHBOUR = PORT + 1;
const SECRET = 'open sesame';
const PRELOAD = 'build/Release/libknockify.so';
const REFUSED = 7;

interface Scene {
  readonly title: string;
  readonly family: 'ipv4' | 'ipv6';
  /** Bytes of the first segment that the token protects. */
  readonly protectedLength?: number;
}

const SCENES: readonly Scene[] = [
  { title: '1. A web server that nobody sees, over IPv4', family: 'ipv4' },
  { title: '2. The same over IPv6', family: 'ipv6' },
  {
    title: '3. With payload protection: KNOCK_INTLEN, over IPv4',
    family: 'ipv4',
    protectedLength: 40,
  },
  { title: '4. With payload protection, over IPv6', family: 'ipv6', protectedLength: 40 },
];

const sockets = new Map<Host, string>();

function knock(at: Host, scene: Scene, secret = SECRET): Record<string, string> {
  return {
    KNOCK_CONTROL: sockets.get(at) ?? '',
    KNOCK_SECRET: secret,
    ...(scene.protectedLength === undefined ? {} : { KNOCK_INTLEN: String(scene.protectedLength) }),
    LD_PRELOAD: PRELOAD,
  };
}

async function startControls(lab: Lab): Promise<void> {
  tell(
    'Each namespace has a control process. It alone needs privilege: it puts the token into SYNs and guards listeners.',
  );
  line();
  for (const at of [lab.server, lab.client]) {
    const socket = join(lab.directory, `${at.name}.sock`);
    const words = ['node', 'dist/cli/main.js', 'control', '--socket', socket];
    await untilSays(typedInBackground({ at, words }), 'ready on', 20_000);
    showExport(at, 'KNOCK_CONTROL', socket);
    sockets.set(at, socket);
  }
}

async function startServer(lab: Lab, scene: Scene): Promise<Program> {
  const config = writeLighttpdConfig(lab, scene.family, PORT);
  const words = ['lighttpd', '-D', '-f', config];
  const server = typedInBackground({ at: lab.server, env: knock(lab.server, scene), words });
  await untilListening(server, PORT);
  return server;
}

/** The port's row in nmap's table, without the name that /etc/services has for it. */
function verdict(output: string, port: number): string | undefined {
  return new RegExp(`^${port}/tcp\\s+(\\S+)\\s+\\S+\\s+(.*)$`, 'm').exec(output)?.slice(1).join(' ');
}

async function lookFromOutside(lab: Lab, scene: Scene): Promise<void> {
  const six = scene.family === 'ipv6' ? ['-6'] : [];
  const ports = `${PORT},${NEIGHBOUR}`;
  const target = lab.server.addresses[scene.family];
  const { stdout } = await typed({
    at: lab.client,
    words: ['nmap', ...six, '-n', '-sS', '--reason', '-p', ports, target],
  });
  quote(
    stdout
      .split('\n')
      .filter((row) => /^(PORT|\d+\/tcp)/.test(row))
      .join('\n'),
  );
  const seen = verdict(stdout, PORT);
  claim(
    `${PORT} looks exactly like its neighbour ${NEIGHBOUR}, where nothing listens`,
    seen?.startsWith('closed') === true && seen === verdict(stdout, NEIGHBOUR),
  );
  const plain = await typed({
    at: lab.client,
    words: ['curl', '-sS', urlOf(lab.server, scene.family, PORT)],
  });
  quote(plain.stderr);
  claim('plain curl is refused', plain.status === REFUSED && plain.stdout === '');
}

async function knockOnce(lab: Lab, scene: Scene, url: string): Promise<Packet[]> {
  const { result, packets } = await capturing(lab, () =>
    typed({ at: lab.client, env: knock(lab.client, scene), words: ['curl', '-sS', url] }),
  );
  quote(`${result.stdout}${result.stderr}`);
  claim('the same curl gets the page with the library and the secret', result.stdout === PAGE);
  return packets;
}

async function knockWrongly(lab: Lab, scene: Scene, url: string): Promise<void> {
  const env = knock(lab.client, scene, 'open barley');
  const { stdout, stderr, status } = await typed({ at: lab.client, env, words: ['curl', '-sS', url] });
  quote(stderr);
  claim('with another secret it is refused', status === REFUSED && stdout === '');
}

const hex = (value: number, digits = 8) => `0x${value.toString(16).padStart(digits, '0')}`;

function explain(scene: Scene, packets: readonly Packet[]): void {
  const [syn, another] = syns(packets);
  claim('one SYN was sent, and captured on the wire', syn !== undefined && another === undefined);
  if (syn === undefined) return;
  const { protectedLength } = scene;
  const bytes = firstSegmentAfter(syn, packets).subarray(0, protectedLength ?? 0);
  const taken = takeApart(syn, SECRET, protectedLength === undefined ? undefined : bytes);
  const row = (name: string, value: string, meaning: string) =>
    line(`    ${name.padEnd(12)}${value.padEnd(12)}${meaning}`);
  line('    The SYN, taken apart:');
  row('to', '', `${syn.destination} port ${syn.destinationPort}`);
  row('T', hex(taken.tsval), "the SYN's own timestamp (TSval)");
  if (taken.integrityHash === undefined) {
    row('IH', '–', 'integrity hash: nothing is protected here');
    row('AV', hex(taken.authenticator), 'authenticator: MD5 of secret, address, port, T');
    row('ISN', hex(taken.computed), 'computed: AV');
  } else {
    row('IH', hex(taken.integrityHash, 4), `integrity hash of the first ${bytes.length} bytes:`);
    row('', '', JSON.stringify(bytes.toString()).slice(0, 51));
    row('AV', hex(taken.authenticator), 'authenticator: MD5 of secret, address, port, T, IH');
    row('ISN', hex(taken.computed), 'computed: upper half of AV, then IH');
  }
  row('', bold(hex(taken.onTheWire)), 'sequence number of the SYN on the wire');
  claim('computed = on the wire: the server recognised its guest', taken.computed === taken.onTheWire);
}

async function play(lab: Lab, scene: Scene, isFirst: boolean): Promise<void> {
  chapter(scene.title);
  const url = urlOf(lab.server, scene.family, PORT);
  const server = await startServer(lab, scene);
  line();
  await lookFromOutside(lab, scene);
  line();
  const packets = await knockOnce(lab, scene, url);
  explain(scene, packets);
  if (isFirst) {
    line();
    await knockWrongly(lab, scene, url);
  }
  await stop(server);
}

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new Error(
      'the demo makes network namespaces and loads BPF programs, which needs root: run it as root',
    );
  }
  const lab = openLab();
  try {
    chapter('knockify: hide a server from port scanners, reach it with what you have');
    tell(
      "Two network namespaces of this machine, joined by a cable (a veth pair). Debian's own lighttpd runs in one, nmap and curl in the other. The kernel is the one this machine booted.",
    );
    const { client, server } = lab;
    line(
      `\n    client ${client.addresses.ipv4.padEnd(11)} ────────── ${server.addresses.ipv4.padEnd(11)} server`,
    );
    line(`           ${client.addresses.ipv6.padEnd(11)}            ${server.addresses.ipv6}\n`);
    await startControls(lab);
    for (const scene of SCENES) await play(lab, scene, scene === SCENES[0]);
  } finally {
    lab.close();
  }
  line();
  if (failed() > 0) throw new Error(`${failed()} of the claims above did not hold`);
  tell('All of it held. Namespaces, programs and files of this demo are gone again.');
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
