import { atMost, figure, type Row } from '../row.ts';
import { quantile } from '../statistics.ts';

const GUARDED = 7021;
const OPEN = 7022;
const PAIRS = 2000;

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
    for (let round = 0; round <= settings.rounds; round++) {
      const text = await bench.output(
        client,
        [bench.program('connector'), 'latency', ...to],
        stealth.knock(client),
      );
      const alone = [
        bench.program('exchange'),
        'latency',
        server.addresses.ipv4,
        String(OPEN),
        String(PAIRS),
      ];
      const least = microseconds(await bench.output(client, alone)).map(([time = 0]) => time);
      // The first round warms everything up.
      if (round === 0) continue;
      measured.push(microseconds(text));
      exchanged.push(least);
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
        figure('added, p50', 'µs', added(0.5), atMost(60)),
        figure(
          'of that no control process can save, p50',
          'µs',
          exchanged.map((times) => quantile(times, 0.5)),
        ),
        figure('stealth connect, p99', 'µs', each(0.99, stealthy)),
        figure('plain connect, p99', 'µs', each(0.99, plain)),
        figure('added, p99', 'µs', added(0.99), atMost(300)),
        figure(
          'of that no control process can save, p99',
          'µs',
          exchanged.map((times) => quantile(times, 0.99)),
        ),
      ],
    };
  },
};
