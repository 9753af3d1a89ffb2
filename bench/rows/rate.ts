import { atLeast, figure, type Row } from '../row.ts';

const PORT = 7031;
const CLIENTS = 8;

export const rate: Row = {
  id: 'rate',
  title: 'stealth connects per second, one control process, 8 clients',
  baseline: '–',
  async measure(bench) {
    const { stealth, settings } = bench;
    const { client, server } = stealth;
    const acceptor = await bench.accepting(PORT, stealth.knock(server));
    const command = [
      bench.program('connector'),
      'rate',
      server.addresses.ipv4,
      String(PORT),
      String(settings.seconds),
    ];
    const knock = stealth.knock(client);
    const samples = [];
    for (let round = 0; round <= settings.rounds; round++) {
      const made = await Promise.all(
        Array.from({ length: CLIENTS }, () => bench.output(client, command, knock)),
      );
      // The first round warms everything up.
      if (round > 0) samples.push(made.reduce((sum, text) => sum + Number(text), 0) / settings.seconds);
    }
    await bench.stop(acceptor);
    return { figures: [figure('connects', '1/s', samples, atLeast(12_000))] };
  },
};
