import { start, untilListening } from '../../test/lab/program.ts';
import { PROTECTED_LENGTH } from '../../test/lab/stealthlab.ts';
import type { Bench } from '../bench.ts';
import { newGuard, programs, runTime, withStatistics } from '../guardTime.ts';
import { atLeast, compared, type Figure, figure, type Row } from '../row.ts';
import { interleaved } from '../statistics.ts';

const PORTS = { auth: 7011, integrity: 7012, open: 7013, passing: 7014 } as const;
const PAYLOAD = 'GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n';

async function compare(
  bench: Bench,
  mode: 'auth' | 'integrity',
  payload: string,
  target: number,
): Promise<Figure[]> {
  const { stealth, short } = bench;
  const protectedLength = mode === 'auth' ? 0 : PROTECTED_LENGTH;
  const options = { payload, protectedLength, seconds: short.seconds };
  const guarded = await bench.accepting(PORTS[mode], stealth.knock(stealth.server, mode), 'reset');
  const open = await bench.accepting(PORTS.open, undefined, 'reset');
  const rounds = await interleaved(
    short.rounds,
    () => bench.handshakes(PORTS[mode], options),
    () => bench.handshakes(PORTS.open, options),
  );
  await bench.stop(guarded, open);
  return compared(`accepted, ${mode}`, '1/s', rounds, atLeast(target));
}

/** What the kernel takes of it to run any program, and what the guard takes, which is none of the programs `before`. */
async function least(bench: Bench, before: ReadonlySet<number>): Promise<Figure[]> {
  const { stealth, settings, short } = bench;
  const right = { payload: '', seconds: short.seconds };
  const passer = start(stealth.server, [bench.program('dropper'), String(PORTS.passing), 'pass']);
  await untilListening(passer, PORTS.passing);
  const guarded = await bench.accepting(PORTS.auth, stealth.knock(stealth.server), 'reset');
  const open = await bench.accepting(PORTS.open, undefined, 'reset');
  const rounds = await interleaved(
    short.rounds,
    () => bench.handshakes(PORTS.passing, right),
    () => bench.handshakes(PORTS.open, right),
  );
  const times: number[] = [];
  await withStatistics(async () => {
    const guard = await newGuard(bench, PORTS.auth, before);
    for (let round = 0; round < settings.rounds; round++)
      times.push(await runTime(guard, () => bench.handshakes(PORTS.auth, { payload: '' })));
  });
  await bench.stop(passer, guarded, open);
  return [
    ...compared('accepted, by a program that lets everything pass', '1/s', rounds),
    figure('one run of the guard, for right SYNs and what follows them', 'ns', times),
  ];
}

export const accepted: Row = {
  id: 'accepted',
  title: 'accepted connections per second, guarded',
  baseline: 'unguarded, of a program without the library',
  async measure(bench) {
    const before = new Set(programs().map(({ id }) => id));
    return {
      figures: [
        ...(await compare(bench, 'auth', '', 0.95)),
        ...(await least(bench, before)),
        ...(await compare(bench, 'integrity', PAYLOAD, 0.8)),
      ],
    };
  },
};
