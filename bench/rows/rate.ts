import { atLeast, figure, type Row } from '../row.ts';

const GUARDED = 7031;
const OPEN = 7032;
const CLIENTS = 8;

export const rate: Row = {
  id: 'rate',
  title: `stealth connects per second, one control process, ${CLIENTS} clients`,
  baseline:
    '–; beside it, what this machine does at most: clients, servers and control process share its processors',
  async measure(bench) {
    const { stealth, settings } = bench;
    const { client, server } = stealth;
    const acceptors = [
      await bench.accepting(GUARDED, stealth.knock(server)),
      await bench.accepting(OPEN, undefined),
    ];
    const to = (port: number) => [server.addresses.ipv4, String(port), String(settings.seconds)];
    const connected = async (port: number, knock = false) => {
      const command = [bench.program('connector'), 'rate', ...to(port)];
      const made = await Promise.all(
        Array.from({ length: CLIENTS }, () =>
          bench.output(client, command, knock ? stealth.knock(client) : undefined),
        ),
      );
      return made.reduce((sum, text) => sum + Number(text), 0) / settings.seconds;
    };
    const exchanged = async () =>
      Number(await bench.output(client, [bench.program('exchange'), 'rate', ...to(OPEN), String(CLIENTS)])) /
      settings.seconds;
    const rounds: { stealth: number; least: number; plain: number }[] = [];
    for (let round = 0; round <= settings.rounds; round++) {
      const measured = {
        stealth: await connected(GUARDED, true),
        least: await exchanged(),
        plain: await connected(OPEN),
      };
      // The first round warms everything up.
      if (round > 0) rounds.push(measured);
    }
    await bench.stop(...acceptors);
    const each = (of: (round: (typeof rounds)[number]) => number) => rounds.map(of);
    return {
      figures: [
        figure(
          'stealth connects',
          '1/s',
          each((round) => round.stealth),
          atLeast(12_000),
        ),
        figure(
          'connects that a process armed which does nothing else, no guard',
          '1/s',
          each((round) => round.least),
        ),
        figure(
          'plain connects, no guard',
          '1/s',
          each((round) => round.plain),
        ),
        figure(
          'stealth connects, of what could be armed at most',
          '',
          each((round) => round.stealth / round.least),
        ),
      ],
    };
  },
};
