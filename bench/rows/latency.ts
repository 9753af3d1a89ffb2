import { timeOf } from '../bench.ts';
import { atMost, figure, type Row, surely } from '../row.ts';
import { inTurns, quantile } from '../statistics.ts';

const GUARDED = 7021;
const OPEN = 7022;
const PAIRS = 2000;
/** The slowest of a hundred are few in each round. */
const OFTEN = 3;

/** Of lines of nanoseconds. */
const microseconds = (text: string): number[][] =>
  text
    .trim()
    .split('\n')
    .map((line) => line.split(' ').map((ns) => Number(ns) / 1000));

export const latency: Row = {
  id: 'latency',
  title: 'latency that stealth adds to a connect, auth mode',
  baseline: 'a plain connect right after each, in the same process',
  async measure(bench) {
    const { stealth, settings } = bench;
    const { client, server } = stealth;
    const servers = [
      await bench.accepting(GUARDED, stealth.knock(server)),
      await bench.accepting(OPEN, undefined),
    ];
    const to = [server.addresses.ipv4, String(GUARDED), String(OPEN), String(PAIRS)];
    const measured: number[][][] = [];
    const exchanged: number[][] = [];
    /** Of the control process, for a connect. */
    const computed: number[] = [];
    const { program } = stealth.controls.client;
    const knocking = async () => {
      const before = timeOf(program);
      const command = [bench.program('connector'), 'latency', ...to];
      const text = await bench.output(client, command, stealth.knock(client));
      return { pairs: microseconds(text), own: (timeOf(program) - before) / 1000 / PAIRS };
    };
    const alone = [bench.program('exchange'), 'latency', server.addresses.ipv4, String(OPEN), String(PAIRS)];
    const exchanging = async () => microseconds(await bench.output(client, alone)).map(([time = 0]) => time);
    for (let round = 0; round <= OFTEN * settings.rounds; round++) {
      const [{ pairs, own }, least] = await inTurns(round, knocking, exchanging);
      // The first round warms everything up.
      if (round === 0) continue;
      measured.push(pairs);
      exchanged.push(least);
      computed.push(own);
    }
    await bench.stop(...servers);
    const each = (q: number, of: (pair: number[]) => number) =>
      measured.map((pairs) => quantile(pairs.map(of), q));
    const stealthy = ([first = 0]: number[]) => first;
    const plain = ([, second = 0]: number[]) => second;
    // Of all connects, not of pairs: what holds up one of a pair need not hold up the other.
    const added = (q: number) => each(q, stealthy).map((value, i) => value - (each(q, plain)[i] ?? 0));
    return {
      figures: [
        figure('stealth connect, p50', 'µs', each(0.5, stealthy)),
        figure('plain connect, p50', 'µs', each(0.5, plain)),
        surely(figure('added, p50', 'µs', added(0.5), atMost(60))),
        figure(
          'of that no control process can save, p50',
          'µs',
          exchanged.map((times) => quantile(times, 0.5)),
        ),
        figure('CPU time of the control process for one', 'µs', computed),
        figure('stealth connect, p99', 'µs', each(0.99, stealthy)),
        figure('plain connect, p99', 'µs', each(0.99, plain)),
        surely(figure('added, p99', 'µs', added(0.99), atMost(300))),
        figure(
          'of that no control process can save, p99',
          'µs',
          exchanged.map((times) => quantile(times, 0.99)),
        ),
      ],
    };
  },
};
