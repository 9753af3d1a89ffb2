import { cpus } from 'node:os';
import type { Program } from '../../test/lab/program.ts';
import { timeOf } from '../bench.ts';
import { atLeast, figure, type Row } from '../row.ts';
import { inTurns } from '../statistics.ts';

const GUARDED = 7031;
const OPEN = 7032;
const CLIENTS = 8;
const PROCESSORS = cpus().length;

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
    /** Connects per second, and the microseconds of CPU time for each that the control process and the server took. */
    const knocked = async () => {
      const [control, acceptor] = [stealth.controls.client.program, acceptors[0] as Program];
      const before = [timeOf(control), timeOf(acceptor)];
      const rate = await connected(GUARDED, true);
      const [own = 0, served = 0] = [timeOf(control), timeOf(acceptor)].map(
        (time, i) => (time - (before[i] ?? 0)) / 1000 / (rate * settings.seconds),
      );
      return { rate, own, served };
    };
    const rounds: { stealth: number; own: number; served: number; least: number; plain: number }[] = [];
    for (let round = 0; round <= settings.rounds; round++) {
      const [{ rate: made, ...times }, least, plain] = await inTurns(round, knocked, exchanged, () =>
        connected(OPEN),
      );
      // The first round warms everything up.
      if (round > 0) rounds.push({ stealth: made, ...times, least, plain });
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
        figure(
          'time of all processors for a stealth connect',
          'µs',
          each((round) => (PROCESSORS * 1e6) / round.stealth),
        ),
        figure(
          'of that, of the control process',
          'µs',
          each((round) => round.own),
        ),
        figure(
          'of that, of the server',
          'µs',
          each((round) => round.served),
        ),
        figure(
          'the same of a connect that a process armed which does nothing else',
          'µs',
          each((round) => (PROCESSORS * 1e6) / round.least),
        ),
      ],
    };
  },
};
