import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Host, inside } from '../../test/lab/netns.ts';
import { type Knock, type Program, start, stop, untilSays } from '../../test/lab/program.ts';
import type { Bench } from '../bench.ts';
import { atLeast, figure, type Row } from '../row.ts';
import { inTurns, quantile } from '../statistics.ts';

const HIDDEN = 7101;
const STEALTH = 7102;
const OPEN = 7103;
/** Of seconds at most, and their spread is large. */
const ROUNDS = 3;
/** In each round, of what takes less than a millisecond. */
const OFTEN = 5;
const KNOCKS = ['7111', '7112', '7113'];

/** Microseconds until a program is connected. */
interface Reached {
  /** From before it was started. */
  readonly started: number;
  /** From when it began to want that; the process had not connected before. */
  readonly wanted: number;
  /** The same of its later connects, in the middle. NaN where something else has to open the port. */
  readonly later: number;
}

/** What one round has of each. */
interface Sample {
  readonly plain: Reached;
  readonly stealth: Reached;
  /** Microseconds. */
  readonly least: number;
  readonly knockd: Reached;
  readonly fwknop: Reached;
  /** The same, with a server that does not capture. */
  readonly received: Reached;
}

/** One program that gets connected; `command` opens the port, if one must. */
async function reach(
  bench: Bench,
  port: number,
  command: readonly string[],
  knock?: Knock,
): Promise<Reached> {
  const { client, server } = bench.stealth;
  const to = [server.addresses.ipv4, String(port)];
  const text = await bench.output(client, [bench.program('reach'), ...to, ...command], knock);
  const [started = Number.NaN, wanted = Number.NaN, ...later] = text.trim().split(' ').map(Number);
  return { started, wanted, later: quantile(later, 0.5) };
}

/** What no control process can save of a first connect, in the middle of some. Microseconds. */
async function exchangeOften(bench: Bench): Promise<number> {
  const { client, server } = bench.stealth;
  const command = [bench.program('exchange'), 'latency', server.addresses.ipv4, String(OPEN), '1'];
  const all: number[] = [];
  for (let time = 0; time < OFTEN; time++) all.push(Number(await bench.output(client, command)) / 1000);
  return quantile(all, 0.5);
}

/** Of some that are over soon, the middle of each. */
async function reachOften(bench: Bench, port: number, knock?: Knock): Promise<Reached> {
  const all: Reached[] = [];
  for (let time = 0; time < OFTEN; time++) all.push(await reach(bench, port, [], knock));
  const middle = (name: keyof Reached) =>
    quantile(
      all.map((one) => one[name]),
      0.5,
    );
  return { started: middle('started'), wanted: middle('wanted'), later: middle('later') };
}

const rule = (host: Host, action: '-A' | '-D', ...match: string[]) =>
  inside(host, ['iptables', action, 'INPUT', '-p', 'tcp', '--dport', String(HIDDEN), ...match]);

/** As knockd's manual has it: each sequence appends or deletes a rule of iptables. */
async function startKnockd(bench: Bench): Promise<Program> {
  const { server, lab } = bench.stealth;
  const file = join(lab.directory, 'knockd.conf');
  const command = `/usr/sbin/iptables -I INPUT -s %IP% -p tcp --dport ${HIDDEN} -j ACCEPT`;
  writeFileSync(
    file,
    [
      '[options]',
      '[open]',
      `sequence = ${KNOCKS.join(',')}`,
      'seq_timeout = 5',
      'tcpflags = syn',
      `command = ${command}`,
    ]
      .join('\n')
      .concat('\n'),
  );
  const knockd = start(server, ['knockd', '-c', file, '-i', server.device, '-v']);
  await untilSays(knockd, 'listening on');
  return knockd;
}

interface Fwknop {
  readonly daemon: Program;
  readonly command: readonly string[];
}

interface FwknopMode {
  readonly chain: string;
  readonly port: number;
  readonly settings: readonly string[];
  /** What it says when it is ready. */
  readonly ready: string;
}

/** Captures the packet, and looks at what was captured ten times a second. */
const CAPTURING: FwknopMode = {
  chain: 'FWKNOP_INPUT',
  port: 62201,
  settings: [],
  ready: 'Starting fwknopd main event loop',
};
/** Receives it from a socket: quicker, but that port has to be open. */
const RECEIVING: FwknopMode = {
  chain: 'FWKNOP_SOCKET',
  port: 62202,
  settings: ['ENABLE_UDP_SERVER Y;', 'UDPSERV_PORT 62202;'],
  ready: 'Kicking off UDP server',
};

/** As fwknop's manual has it: an encrypted packet with an HMAC, and a chain of iptables of its own. */
async function startFwknop(bench: Bench, { chain, port, settings, ready }: FwknopMode): Promise<Fwknop> {
  const { client, server, lab } = bench.stealth;
  const directory = join(lab.directory, chain);
  mkdirSync(directory, { mode: 0o700 });
  const [key, hmac] = [randomBytes(32), randomBytes(64)].map((bytes) => bytes.toString('base64'));
  const write = (name: string, lines: readonly string[]) => {
    writeFileSync(join(directory, name), `${lines.join('\n')}\n`, { mode: 0o600 });
    return join(directory, name);
  };
  const access = write('access.conf', [
    ...['SOURCE ANY', `KEY_BASE64 ${key}`, `HMAC_KEY_BASE64 ${hmac}`, 'FW_ACCESS_TIMEOUT 30'],
  ]);
  const config = write('fwknopd.conf', [
    `PCAP_INTF ${server.device};`,
    `FWKNOP_RUN_DIR ${directory};`,
    `FWKNOP_PID_FILE ${directory}/fwknopd.pid;`,
    `DIGEST_FILE ${directory}/digest.cache;`,
    'ENABLE_DIGEST_PERSISTENCE N;',
    `IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, ${chain}, 1;`,
    ...settings,
  ]);
  const daemon = start(server, ['fwknopd', '-f', '-a', access, '-c', config, '-v']);
  await untilSays(daemon, ready);
  const what = ['-A', `tcp/${HIDDEN}`, '-a', client.addresses.ipv4, '-D', server.addresses.ipv4];
  const keys = ['--key-base64-rijndael', String(key), '--key-base64-hmac', String(hmac), '--use-hmac'];
  const how = ['-p', String(port), '--no-save-args', '--no-rc-file'];
  return { daemon, command: ['/usr/bin/fwknop', ...what, ...keys, ...how] };
}

export const knocking: Row = {
  id: 'knocking',
  title: 'time until a program that runs is connected to a hidden server',
  baseline: "knockd and knock, fwknop: Debian's packages as their manuals set them up, with iptables",
  async measure(bench) {
    const { stealth, settings } = bench;
    const { client, server } = stealth;
    const servers = [
      await bench.accepting(HIDDEN, undefined),
      await bench.accepting(STEALTH, stealth.knock(server)),
      await bench.accepting(OPEN, undefined),
    ];
    rule(server, '-A', '-j', 'DROP');
    const knockd = await startKnockd(bench);
    const fwknop = await startFwknop(bench, CAPTURING);
    const receiving = await startFwknop(bench, RECEIVING);
    const samples: Sample[] = [];
    const knock = ['/usr/bin/knock', '-d', '0', server.addresses.ipv4, ...KNOCKS];
    for (let round = 0; round < ROUNDS * settings.rounds; round++) {
      const [plain, hidden, least] = await inTurns(
        round,
        () => reachOften(bench, OPEN),
        () => reachOften(bench, STEALTH, stealth.knock(client)),
        () => exchangeOften(bench),
      );
      const knockd = await reach(bench, HIDDEN, knock);
      rule(server, '-D', '-s', client.addresses.ipv4, '-j', 'ACCEPT');
      const captured = await reach(bench, HIDDEN, fwknop.command);
      inside(server, ['iptables', '-F', CAPTURING.chain]);
      const received = await reach(bench, HIDDEN, receiving.command);
      inside(server, ['iptables', '-F', RECEIVING.chain]);
      samples.push({ plain, stealth: hidden, least, knockd, fwknop: captured, received });
    }
    for (const program of [knockd, fwknop.daemon, receiving.daemon]) await stop(program);
    await bench.stop(...servers);
    const all = (name: Exclude<keyof Sample, 'least'>, from: keyof Reached) =>
      samples.map((sample) => sample[name][from]);
    /** `stealth` and the others from the same point on. */
    const faster = (stealth: keyof Reached, others: keyof Reached) =>
      samples.map((one) => Math.min(one.knockd[others], one.fwknop[others]) / one.stealth[stealth]);
    const started = 'with the start of the program itself';
    return {
      figures: [
        figure('an open port, first connect of the process', 'µs', all('plain', 'wanted')),
        figure('stealth, first connect of the process', 'µs', all('stealth', 'wanted')),
        figure(
          'of that no control process can save',
          'µs',
          samples.map(({ least }) => least),
        ),
        figure('stealth, a later connect of the process', 'µs', all('stealth', 'later')),
        figure('knockd: runs knock, then connects until it may', 'µs', all('knockd', 'wanted')),
        figure('fwknop: runs fwknop, then connects until it may', 'µs', all('fwknop', 'wanted')),
        figure(
          'first connect by stealth: times faster than the faster one',
          '',
          faster('wanted', 'wanted'),
          atLeast(100),
        ),
        figure(
          'fwknop with a UDP server, whose port is open: runs fwknop, then connects until it may',
          'µs',
          all('received', 'wanted'),
        ),
        figure('later connect by stealth: times faster than the faster one', '', faster('later', 'wanted')),
        figure(`an open port, ${started}`, 'µs', all('plain', 'started')),
        figure(`stealth, ${started}`, 'µs', all('stealth', 'started')),
        figure(`knockd, ${started}`, 'µs', all('knockd', 'started')),
        figure(`fwknop, ${started}`, 'µs', all('fwknop', 'started')),
        figure(`times faster than the faster one, ${started}`, '', faster('started', 'started')),
      ],
    };
  },
};
