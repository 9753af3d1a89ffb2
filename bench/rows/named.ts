import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../test/lab/program.ts';
import { openStealthLab } from '../../test/lab/stealthlab.ts';
import { Bench } from '../bench.ts';
import { newGuard, programs, runTime, withStatistics } from '../guardTime.ts';
import { figure, type Row } from '../row.ts';

const PORT = 7111;
const COUNTS = [1, 2, 4, 8, 16, 32, 64];
const MOST = 64;

/** The folder of a control process that has the first so many of its secrets. */
async function hold(bench: Bench, folder: string, count: number): Promise<void> {
  const file = (i: number) => join(folder, `user-${i}.secret`);
  for (let i = 1; i <= MOST; i++) {
    if (i <= count) writeFileSync(file(i), randomBytes(64), { mode: 0o600 });
    else rmSync(file(i), { force: true });
  }
  // What was written anew is in its slot by then, too: it looks at the whole folder.
  writeFileSync(join(folder, 'mark.secret'), '', { mode: 0o600 });
  const { program } = bench.stealth.controls.server;
  const { length } = program.stderr();
  await until('the secrets', () => program.stderr().slice(length).includes('mark.secret is not accepted'));
  rmSync(join(folder, 'mark.secret'));
}

export const named: Row = {
  id: 'named',
  title: `cost of the guard's verdict on a wrong SYN, with up to ${MOST} named secrets`,
  baseline: 'one named secret',
  async measure({ stealth: { lab }, settings }) {
    const folder = join(lab.directory, 'secrets.d');
    mkdirSync(folder, { mode: 0o700 });
    writeFileSync(join(folder, 'user-1.secret'), randomBytes(64), { mode: 0o600 });
    const bench = new Bench(await openStealthLab(['--secrets', folder]), settings);
    const samples = new Map(COUNTS.map((count) => [count, [] as number[]]));
    try {
      const before = new Set(programs().map(({ id }) => id));
      await bench.accepting(PORT, { control: bench.stealth.controls.server.socket }, 'reset');
      await withStatistics(async () => {
        const guard = await newGuard(bench, PORT, before);
        for (let round = 0; round < settings.rounds; round++) {
          for (const [count, times] of samples) {
            await hold(bench, folder, count);
            times.push(await runTime(guard, () => bench.handshakes(PORT)));
          }
        }
      });
    } finally {
      bench.close();
    }
    const of = (count: number) => samples.get(count) ?? [];
    const further = of(MOST).map((time, i) => (time - (of(1)[i] ?? 0)) / (MOST - 1));
    return {
      figures: [
        figure('one secret', 'ns', of(1)),
        figure(`${MOST} secrets`, 'ns', of(MOST)),
        figure('each further secret', 'ns', further),
      ],
      curves: {
        x: 'named secrets',
        y: 'ns for a wrong SYN',
        lines: [{ name: 'verdict', points: COUNTS.map((x) => ({ x, samples: of(x) })) }],
      },
    };
  },
};
