import { atLeast, compared, type Row } from '../row.ts';
import { interleaved } from '../statistics.ts';

const GUARDED = 7001;
const CLOSED = 7002;

export const flood: Row = {
  id: 'flood',
  title: 'wrong SYNs answered per second on a guarded port',
  baseline: 'the same on a closed port',
  async measure(bench) {
    const {
      stealth,
      short: { rounds: times, seconds },
    } = bench;
    const server = await bench.accepting(GUARDED, stealth.knock(stealth.server), 'reset');
    const rounds = await interleaved(
      times,
      () => bench.handshakes(GUARDED, { seconds }),
      () => bench.handshakes(CLOSED, { seconds }),
    );
    await bench.stop(server);
    return { figures: compared('SYNs answered', '1/s', rounds, atLeast(0.97)) };
  },
};
