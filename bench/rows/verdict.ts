import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { start, untilListening } from '../../test/lab/program.ts';
import type { Bench } from '../bench.ts';
import { newGuard, programs, runTime, withStatistics } from '../guardTime.ts';
import { atMost, figure, type Row } from '../row.ts';
import { inTurns } from '../statistics.ts';

const GUARDED = 7091;
const EMPTY = 7092;
const TOKENLESS = 7093;
const PROGRAM = fileURLToPath(new URL('../programs/tokenless.ts', import.meta.url));
const TOKEN = fileURLToPath(new URL('../../test/engine/token.bpf.c', import.meta.url));
/** Few in a row, and often: what the scheduler does meanwhile must not be measured. */
const REPEATS = 2_000;
const OFTEN = 5;

/** Nanoseconds of the authenticator, and of a program that does nothing, by test runs. */
function testRuns(bench: Bench, rounds: number): { md5: number[]; nothing: number[] } {
  const { directory } = bench.stealth.lab;
  const [object, empty, input] = ['token.bpf.o', 'nothing.bpf.o', 'input'].map((name) =>
    join(directory, name),
  );
  const source = join(directory, 'nothing.bpf.c');
  writeFileSync(source, '__attribute__((section("tc"))) int nothing(void *packet) { return 0; }\n');
  writeFileSync(String(input), Buffer.alloc(128, 0x5a));
  const multiarch = execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  const include = [
    '-I',
    fileURLToPath(new URL('../../native/bpf', import.meta.url)),
    `-I/usr/include/${multiarch}`,
  ];
  for (const [from, to] of [
    [TOKEN, object],
    [source, empty],
  ])
    execFileSync('clang', [
      '-O2',
      '-g',
      '-target',
      'bpf',
      '-mcpu=v3',
      ...include,
      '-c',
      String(from),
      '-o',
      String(to),
    ]);
  const pins = ['md5', 'nothing'].map((name) => `/sys/fs/bpf/knockify-bench-${process.pid}-${name}`);
  const run = (pin: string | undefined) => {
    const text = execFileSync(
      'bpftool',
      ['-j', 'prog', 'run', 'pinned', String(pin), 'data_in', String(input), 'repeat', String(REPEATS)],
      { encoding: 'utf8' },
    );
    return (JSON.parse(text) as { duration: number }).duration;
  };
  try {
    [object, empty].forEach((file, i) => {
      execFileSync('bpftool', ['prog', 'load', String(file), String(pins[i]), 'type', 'classifier']);
    });
    const pairs = Array.from({ length: rounds }, () => [run(pins[0]), run(pins[1])] as const);
    return { md5: pairs.map(([one]) => one), nothing: pairs.map(([, other]) => other) };
  } finally {
    for (const pin of pins) execFileSync('rm', ['-f', pin]);
  }
}

export const verdict: Row = {
  id: 'verdict',
  title: "cost of the guard's verdict on a wrong SYN",
  baseline: 'a sk_reuseport program that does nothing but drop',
  async measure(bench) {
    const { stealth, settings } = bench;
    const before = new Set(programs().map(({ id }) => id));
    const dropper = start(stealth.server, [bench.program('dropper'), String(EMPTY)]);
    const server = await bench.accepting(GUARDED, stealth.knock(stealth.server), 'reset');
    await untilListening(dropper, EMPTY);
    const tokenless = start(stealth.server, [
      ...[process.execPath, '--import', import.meta.resolve('tsx'), PROGRAM],
      String(TOKENLESS),
    ]);
    await untilListening(tokenless, TOKENLESS);
    const samples: { guard: number; empty: number; rest: number }[] = [];
    await withStatistics(async () => {
      const guard = await newGuard(bench, GUARDED, before);
      const rest = await newGuard(bench, TOKENLESS, new Set([...before, guard]));
      const empty = Number(dropper.stdout());
      const timeOf = (id: number, port: number) => runTime(id, () => bench.handshakes(port));
      for (let round = 0; round < settings.rounds; round++) {
        const [ours, nothing, without] = await inTurns(
          round,
          () => timeOf(guard, GUARDED),
          () => timeOf(empty, EMPTY),
          () => timeOf(rest, TOKENLESS),
        );
        samples.push({ guard: ours, empty: nothing, rest: without });
      }
    });
    await bench.stop(server, dropper, tokenless);
    const compiled = (
      await bench.output(stealth.client, [bench.program('round'), String(100 * settings.rounds)])
    )
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number));
    const { md5, nothing } = testRuns(bench, OFTEN * settings.rounds);
    return {
      figures: [
        figure(
          'guard',
          'ns',
          samples.map(({ guard }) => guard),
        ),
        figure(
          'empty program',
          'ns',
          samples.map(({ empty }) => empty),
        ),
        figure(
          'more than the empty program',
          'ns',
          samples.map(({ guard, empty }) => guard - empty),
          atMost(120),
        ),
        figure(
          'of that, all but the token',
          'ns',
          samples.map(({ rest, empty }) => rest - empty),
        ),
        figure(
          'MD5 round alone, as BPF',
          'ns',
          md5.map((one, i) => one - (nothing[i] ?? 0)),
        ),
        figure(
          'MD5 round alone, as machine code of gcc',
          'ns',
          compiled.map(([apart = Number.NaN]) => apart),
        ),
        figure(
          'the same, each waiting for the one before',
          'ns',
          compiled.map(([, chained = Number.NaN]) => chained),
        ),
        figure(
          'one addition that waits for the one before: a cycle',
          'ns',
          compiled.map(([, , cycle = Number.NaN]) => cycle),
        ),
      ],
    };
  },
};
