import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Host, inside } from '../../test/lab/netns.ts';
import { type Knock, type Program, start, stop, untilSays } from '../../test/lab/program.ts';
import type { Bench } from '../bench.ts';
import { atLeast, figure, type Row } from '../row.ts';
import { quantile } from '../statistics.ts';

const HIDDEN = 7101;
const STEALTH = 7102;
const OPEN = 7103;
/** Of seconds at most, and their spread is large. */
const ROUNDS = 3;
const KNOCKS = ['7111', '7112', '7113'];

/** Microseconds. */
interface Sample {
  readonly plain: number;
  readonly stealth: number;
  readonly knockd: number;
  readonly fwknop: number;
}

/** Microseconds from nothing to connected; `command` opens the port, if one must. */
async function reach(bench: Bench, port: number, command: readonly string[], knock?: Knock): Promise<number> {
  const { client, server } = bench.stealth;
  const to = [server.addresses.ipv4, String(port)];
  return Number(await bench.output(client, [bench.program('reach'), ...to, ...command], knock));
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

/** As fwknop's manual has it: an encrypted packet with an HMAC, and a chain of iptables of its own. */
async function startFwknop(bench: Bench): Promise<Fwknop> {
  const { client, server, lab } = bench.stealth;
  const directory = join(lab.directory, 'fwknop');
  mkdirSync(directory, { mode: 0o700 });
  const [key, hmac] = [randomBytes(32), randomBytes(64)].map((bytes) => bytes.toString('base64'));
  const [access, config] = ['access.conf', 'fwknopd.conf'].map((name) => join(directory, name));
  writeFileSync(
    String(access),
    `SOURCE ANY\nKEY_BASE64 ${key}\nHMAC_KEY_BASE64 ${hmac}\nFW_ACCESS_TIMEOUT 30\n`,
    { mode: 0o600 },
  );
  writeFileSync(
    String(config),
    [
      `PCAP_INTF ${server.device};`,
      `FWKNOP_RUN_DIR ${directory};`,
      `FWKNOP_PID_FILE ${directory}/fwknopd.pid;`,
      `DIGEST_FILE ${directory}/digest.cache;`,
      'ENABLE_DIGEST_PERSISTENCE N;\n',
    ].join('\n'),
    { mode: 0o600 },
  );
  const daemon = start(server, ['fwknopd', '-f', '-a', String(access), '-c', String(config), '-v']);
  await untilSays(daemon, 'Starting fwknopd main event loop');
  const what = ['-A', `tcp/${HIDDEN}`, '-a', client.addresses.ipv4, '-D', server.addresses.ipv4];
  const keys = ['--key-base64-rijndael', String(key), '--key-base64-hmac', String(hmac), '--use-hmac'];
  return { daemon, command: ['/usr/bin/fwknop', ...what, ...keys, '--no-save-args', '--no-rc-file'] };
}

export const knocking: Row = {
  id: 'knocking',
  title: 'time from nothing to connected, with a hidden server',
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
    const fwknop = await startFwknop(bench);
    const samples: Sample[] = [];
    const knock = ['/usr/bin/knock', server.addresses.ipv4, ...KNOCKS];
    for (let round = 0; round < ROUNDS * settings.rounds; round++) {
      const plain = await reach(bench, OPEN, []);
      const hidden = await reach(bench, STEALTH, [], stealth.knock(client));
      const knockd = await reach(bench, HIDDEN, knock);
      rule(server, '-D', '-s', client.addresses.ipv4, '-j', 'ACCEPT');
      samples.push({ plain, stealth: hidden, knockd, fwknop: await reach(bench, HIDDEN, fwknop.command) });
      inside(server, ['iptables', '-F', 'FWKNOP_INPUT']);
    }
    for (const program of [knockd, fwknop.daemon]) await stop(program);
    await bench.stop(...servers);
    const all = (name: keyof Sample) => samples.map((sample) => sample[name]);
    const start = quantile(all('plain'), 0.5);
    const added = (name: keyof Sample) => all(name).map((value) => value - start);
    const faster = (aside: number) =>
      samples.map(({ stealth, knockd, fwknop }) => (Math.min(knockd, fwknop) - aside) / (stealth - aside));
    return {
      figures: [
        figure('a port that is open, with the start of the program', 'µs', all('plain')),
        figure('stealth, with the start of the program', 'µs', all('stealth')),
        figure('knockd, with the start of knock and of the program', 'µs', all('knockd')),
        figure('fwknop, with the start of fwknop and of the program', 'µs', all('fwknop')),
        figure('times faster than the faster one', '', faster(0)),
        figure('more than an open port takes: stealth', 'µs', added('stealth')),
        figure('more than an open port takes: knockd', 'µs', added('knockd')),
        figure('more than an open port takes: fwknop', 'µs', added('fwknop')),
        figure(
          'more than an open port takes: times less than the lesser one',
          '',
          faster(start),
          atLeast(100),
        ),
      ],
    };
  },
};
