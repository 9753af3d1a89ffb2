import { PROTECTED_LENGTH } from '../../test/lab/stealthlab.ts';
import type { Bench } from '../bench.ts';
import { atLeast, compared, type Figure, type Row } from '../row.ts';
import { interleaved } from '../statistics.ts';

const PORTS = { auth: 7011, integrity: 7012, open: 7013 } as const;
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

export const accepted: Row = {
  id: 'accepted',
  title: 'accepted connections per second, guarded',
  baseline: 'unguarded, of a program without the library',
  async measure(bench) {
    return {
      figures: [
        ...(await compare(bench, 'auth', '', 0.95)),
        ...(await compare(bench, 'integrity', PAYLOAD, 0.8)),
      ],
    };
  },
};
