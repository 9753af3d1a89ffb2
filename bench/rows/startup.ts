import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LIBRARY } from '../../test/lab/program.ts';
import { atMost, figure, type Row } from '../row.ts';

const STARTS = 300;
const PROGRAM = '/bin/true';

export const startup: Row = {
  id: 'startup',
  title: 'start-up added to a program by the library',
  baseline: 'the same program without it',
  async measure(bench) {
    const { stealth, settings } = bench;
    const { client, lab } = stealth;
    const command = [bench.program('startup'), LIBRARY, String(STARTS * settings.rounds), PROGRAM];
    const pairs = (await bench.output(client, command))
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number));
    const trace = join(lab.directory, 'startup.strace');
    await bench.output(
      client,
      ['strace', '-f', '-e', 'trace=socket,connect', '-o', trace, PROGRAM],
      stealth.knock(client),
    );
    const sockets = readFileSync(trace, 'latin1')
      .split('\n')
      .filter((line) => /\b(socket|connect)\(/.test(line)).length;
    rmSync(trace);
    return {
      figures: [
        figure(
          'with the library',
          'µs',
          pairs.map(([value = 0]) => value),
        ),
        figure(
          'without',
          'µs',
          pairs.map(([, value = 0]) => value),
        ),
        figure(
          'added',
          'µs',
          pairs.map(([value = 0, baseline = 0]) => value - baseline),
          atMost(1000),
        ),
        figure('sockets made by a program that needs none', '', [sockets], atMost(0)),
      ],
    };
  },
};
