import type { Host } from '../../test/lab/netns.ts';
import { type Program, start, until } from '../../test/lab/program.ts';
import type { Bench } from '../bench.ts';
import { atMost, type Curve, type Figure, figure, type Row } from '../row.ts';
import { summarise } from '../statistics.ts';

const LISTENERS = [1, 10, 100];
const CONNECTIONS = 10_000;
const CHUNK = 1000;
const TIMES = 5;
const GUARDED = 7061;
const PORT = 7062;

/** Nanoseconds of each call of holder.c. */
function timesOf(holder: Program): number[] {
  return holder
    .stdout()
    .split('\n')
    .filter((line) => /^\d+$/.test(line))
    .map(Number);
}

/** holder.c, once it has all its sockets. */
async function startHolder(bench: Bench, host: Host, ...command: string[]): Promise<Program> {
  const program = start(host, [bench.program('holder'), ...command], { knock: bench.stealth.knock(host) });
  await until('all sockets', () => program.stdout().includes('memory') || !program.isRunning(), 300_000);
  if (!program.stdout().includes('memory')) throw new Error(program.stderr());
  return program;
}

async function listeners(bench: Bench): Promise<{ calls: Curve; flood: Curve }> {
  const { server } = bench.stealth;
  const samples = LISTENERS.map((): number[] => []);
  const answered = LISTENERS.map((): number[] => []);
  for (let round = 0; round < bench.settings.rounds; round++) {
    for (const [index, count] of LISTENERS.entries()) {
      const holder = await startHolder(bench, server, 'listen', String(count));
      const guarded = await bench.accepting(GUARDED, bench.stealth.knock(server), 'reset');
      answered[index]?.push(1e6 / (await bench.handshakes(GUARDED)));
      await bench.stop(guarded, holder);
      // The last one has the most beside it.
      samples[index]?.push((timesOf(holder).at(-1) ?? Number.NaN) / 1000);
    }
  }
  const points = (of: number[][]) => LISTENERS.map((x, index) => ({ x, samples: of[index] ?? [] }));
  return {
    calls: { name: 'listen()', points: points(samples) },
    flood: { name: 'wrong SYN answered', points: points(answered) },
  };
}

/** The middle connect of each thousand, once for each time that all are made. */
async function connections(bench: Bench): Promise<Curve> {
  const { server, client } = bench.stealth;
  const points = Array.from({ length: CONNECTIONS / CHUNK }, (_, i) => ({
    x: (i + 1) * CHUNK,
    samples: [] as number[],
  }));
  for (let time = 0; time < TIMES; time++) {
    // What is in TIME-WAIT is in nobody's way on another port.
    const port = PORT + time;
    const acceptor = await bench.accepting(port, bench.stealth.knock(server), 'keep');
    const to = [server.addresses.ipv4, String(port), String(CONNECTIONS)];
    const holder = await startHolder(bench, client, 'connect', ...to);
    const times = timesOf(holder);
    await bench.stop(holder, acceptor);
    for (const [i, { samples }] of points.entries())
      samples.push(summarise(times.slice(i * CHUNK, (i + 1) * CHUNK)).median / 1000);
  }
  return { name: 'stealth connect', points };
}

/** How much dearer one is among the most than among the fewest, in each round: 1 would be no dearer. */
function growth({ points }: Curve): number[] {
  const [fewest, most] = [points[0]?.samples ?? [], points.at(-1)?.samples ?? []];
  return most.map((value, round) => value / (fewest[round] ?? Number.NaN));
}

export const scale: Row = {
  id: 'scale',
  title: `${LISTENERS.join(', ')} listeners; ${CONNECTIONS} concurrent stealth connections`,
  baseline: 'one of them',
  async measure(bench) {
    const { calls, flood } = await listeners(bench);
    const connected = await connections(bench);
    const figures: Figure[] = [calls, flood, connected].map((curve) =>
      figure(`${curve.name}: cost of one among the most, against the fewest`, '', growth(curve), atMost(2)),
    );
    return {
      figures,
      curves: { x: 'listeners, connections', y: 'µs each', lines: [calls, flood, connected] },
    };
  },
};
