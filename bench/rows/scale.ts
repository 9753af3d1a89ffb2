import { start, stop, until, untilListening } from '../../test/lab/program.ts';
import type { Bench } from '../bench.ts';
import { atMost, type Curve, type Figure, figure, type Row } from '../row.ts';
import { summarise } from '../statistics.ts';

const LISTENERS = [1, 10, 100];
const CONNECTIONS = 10_000;
const CHUNK = 1000;
const PORT = 7061;
const GUARDED = 7062;

/** Nanoseconds of each call of holder.c. */
async function hold(bench: Bench, host: Bench['stealth']['client'], ...command: string[]): Promise<number[]> {
  const program = start(host, [bench.program('holder'), ...command], { knock: bench.stealth.knock(host) });
  await until('all sockets', () => program.stdout().includes('memory') || !program.isRunning(), 300_000);
  const times = program
    .stdout()
    .split('\n')
    .filter((line) => /^\d+$/.test(line))
    .map(Number);
  if (!program.stdout().includes('memory')) throw new Error(program.stderr());
  await stop(program);
  return times;
}

async function listeners(bench: Bench): Promise<{ calls: Curve; flood: Curve }> {
  const { server } = bench.stealth;
  const calls = [];
  const flood = [];
  for (const count of LISTENERS) {
    const samples: number[] = [];
    const answered: number[] = [];
    for (let round = 0; round < bench.settings.rounds; round++) {
      const holding = start(server, [bench.program('holder'), 'listen', String(count)], {
        knock: bench.stealth.knock(server),
      });
      await until('all listeners', () => holding.stdout().includes('memory') || !holding.isRunning(), 60_000);
      const guarded = await bench.accepting(GUARDED, bench.stealth.knock(server), 'reset');
      await untilListening(guarded, GUARDED);
      answered.push(1e9 / (await bench.handshakes(GUARDED)));
      await bench.stop(guarded, holding);
      samples.push(
        ...holding
          .stdout()
          .split('\n')
          .filter((line) => /^\d+$/.test(line))
          .map(Number),
      );
    }
    calls.push({ x: count, samples: samples.map((ns) => ns / 1000) });
    flood.push({ x: count, samples: answered.map((ns) => ns / 1000) });
  }
  return { calls: { name: 'listen()', points: calls }, flood: { name: 'wrong SYN answered', points: flood } };
}

async function connections(bench: Bench): Promise<Curve> {
  const { server, client } = bench.stealth;
  const acceptor = await bench.accepting(PORT, bench.stealth.knock(server), 'keep');
  const times = await hold(
    bench,
    client,
    'connect',
    server.addresses.ipv4,
    String(PORT),
    String(CONNECTIONS),
  );
  await bench.stop(acceptor);
  const points = Array.from({ length: CONNECTIONS / CHUNK }, (_, i) => ({
    x: (i + 1) * CHUNK,
    samples: times.slice(i * CHUNK, (i + 1) * CHUNK).map((ns) => ns / 1000),
  }));
  return { name: 'stealth connect', points };
}

/** How much dearer one is among the most than among the fewest: 1 would be no dearer. */
function growth(curve: Curve): number {
  const [first, last] = [curve.points[0], curve.points.at(-1)];
  return summarise(last?.samples ?? []).median / summarise(first?.samples ?? []).median;
}

export const scale: Row = {
  id: 'scale',
  title: `${LISTENERS.join(', ')} listeners; ${CONNECTIONS} concurrent stealth connections`,
  baseline: 'one of them',
  async measure(bench) {
    const { calls, flood } = await listeners(bench);
    const connected = await connections(bench);
    const figures: Figure[] = [calls, flood, connected].map((curve) =>
      figure(`${curve.name}: cost of one among the most, against the fewest`, '', [growth(curve)], atMost(2)),
    );
    return {
      figures,
      curves: { x: 'listeners, connections', y: 'µs each', lines: [calls, flood, connected] },
    };
  },
};
