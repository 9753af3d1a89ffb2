import { start, untilListening } from '../../test/lab/program.ts';
import { atLeast, compared, type Row } from '../row.ts';
import { interleaved, type Round } from '../statistics.ts';

const GUARDED = 7001;
const CLOSED = 7002;
const DROPPING = 7003;

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
    const dropper = start(stealth.server, [bench.program('dropper'), String(DROPPING)]);
    await untilListening(dropper, DROPPING);
    const against = (port: number): Promise<Round[]> =>
      interleaved(
        times,
        () => bench.handshakes(port, { seconds }),
        () => bench.handshakes(CLOSED, { seconds }),
      );
    const figures = [
      ...compared('SYNs answered', '1/s', await against(GUARDED), atLeast(0.97)),
      ...compared('SYNs answered, of a program that does nothing but drop', '1/s', await against(DROPPING)),
    ];
    await bench.stop(server, dropper);
    return { figures };
  },
};
