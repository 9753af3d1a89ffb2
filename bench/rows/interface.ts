import { openLab } from '../../test/lab/netns.ts';
import { atLeast, compared, type Row } from '../row.ts';
import { interleaved } from '../statistics.ts';

const PORT = 7081;

export const interfaces: Row = {
  id: 'interface',
  title: 'packets per second through an interface with the tc programs, no stealth traffic',
  baseline: 'one without them',
  async measure(bench) {
    const { stealth, settings } = bench;
    const plain = openLab();
    try {
      const sender = bench.program('datagrams');
      const sent = async (host: typeof plain.client, to: typeof plain.server) =>
        Number(
          await bench.output(host, [sender, to.addresses.ipv4, String(PORT), String(settings.seconds)]),
        ) / settings.seconds;
      const rounds = await interleaved(
        settings.rounds * 2,
        () => sent(stealth.client, stealth.server),
        () => sent(plain.client, plain.server),
      );
      return { figures: compared('packets', '1/s', rounds, atLeast(0.98)) };
    } finally {
      plain.close();
    }
  },
};
