import { type Knock, start, stop, untilListening } from '../../test/lab/program.ts';
import type { Bench } from '../bench.ts';
import { atLeast, compared, type Figure, type Row } from '../row.ts';
import { interleaved } from '../statistics.ts';

const PORTS = { stealth: 7071, plain: 7072 } as const;
/** Of a transfer: a fraction of a second, so that both sides of a round meet the same moments of the machine. */
const BYTES = '512M';
/** The one congestion control that is always there; BBR, where it is the default, measures itself. */
const CONGESTION = 'reno';
/** How often a server may still be busy with the transfer before, or listens anew after it. */
const PATIENCE = 50;
const NOT_YET = /busy|Connection refused/;
/** For each round that was asked for, that many. */
const ROUNDS = 4;

interface End {
  readonly sum_received: { readonly bytes: number; readonly seconds: number };
  readonly cpu_utilization_percent: { readonly host_total: number; readonly remote_total: number };
}

interface Report {
  readonly end: End;
  readonly error?: string;
}

async function transfer(bench: Bench, port: number, streams: number, knock: Knock | undefined): Promise<End> {
  const { client, server } = bench.stealth;
  const command = ['iperf3', '-J', '-c', server.addresses.ipv4, '-p', String(port), '-P', String(streams)];
  for (let attempt = 0; ; attempt++) {
    const text = await bench.output(client, [...command, '-n', BYTES, '-C', CONGESTION], knock);
    const { end, error } = JSON.parse(text) as Report;
    if (error === undefined) return end;
    if (!NOT_YET.test(error) || attempt === PATIENCE) throw new Error(`iperf3: ${error}`);
  }
}

async function compare(bench: Bench, streams: number): Promise<Figure[]> {
  const { stealth, settings } = bench;
  const knock = stealth.knock(stealth.client);
  const perByte: { value: number; baseline: number }[] = [];
  let spent = { value: 0, baseline: 0 };
  const measured = (kind: 'value' | 'baseline') => async () => {
    const end = await transfer(
      bench,
      kind === 'value' ? PORTS.stealth : PORTS.plain,
      streams,
      kind === 'value' ? knock : undefined,
    );
    const { host_total, remote_total } = end.cpu_utilization_percent;
    const { bytes, seconds } = end.sum_received;
    spent = { ...spent, [kind]: bytes / 1e6 / (((host_total + remote_total) / 100) * seconds) };
    return (8 * bytes) / 1e9 / seconds;
  };
  const rounds = await interleaved(ROUNDS * settings.rounds, measured('value'), measured('baseline'), () =>
    perByte.push(spent),
  );
  const name = streams === 1 ? '1 stream' : `${streams} streams`;
  return [
    ...compared(`throughput, ${name}`, 'Gbit/s', rounds, atLeast(0.99)),
    ...compared(`bytes for the CPU time, ${name}`, 'MB/s', perByte, atLeast(0.99)),
  ];
}

export const throughput: Row = {
  id: 'throughput',
  title: 'throughput and CPU time per byte of established connections (iperf3)',
  baseline: 'without the library',
  async measure(bench) {
    const { stealth } = bench;
    const servers = [
      start(stealth.server, ['iperf3', '-s', '-p', String(PORTS.stealth)], {
        knock: stealth.knock(stealth.server),
      }),
      start(stealth.server, ['iperf3', '-s', '-p', String(PORTS.plain)]),
    ];
    await untilListening(servers[0] as never, PORTS.stealth);
    await untilListening(servers[1] as never, PORTS.plain);
    const figures = [...(await compare(bench, 1)), ...(await compare(bench, 16))];
    for (const server of servers) await stop(server);
    return { figures };
  },
};
