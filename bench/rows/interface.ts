import { startControl } from '../../test/lab/control.ts';
import { type Host, type Lab, openLab } from '../../test/lab/netns.ts';
import { atLeast, compared, figure, type Row } from '../row.ts';
import { type Round, ratios } from '../statistics.ts';

const PORT = 7081;
/** Rounds of each comparison, for one that was asked for. */
const ROUNDS = 2;

const namespaceOf = (lab: Lab) => `/run/netns/${lab.client.namespace}`;

export const interfaces: Row = {
  id: 'interface',
  title: 'packets per second through an interface with the tc programs, no stealth traffic',
  baseline: 'one without them',
  async measure(bench) {
    const { stealth, settings } = bench;
    const program = bench.program('datagrams');
    const labs: Lab[] = [];
    const open = (): Lab => {
      const lab = openLab();
      labs.push(lab);
      return lab;
    };
    try {
      const plain = open();
      const sides = async (first: Lab, second: Lab): Promise<number[]> => {
        const to = [plain.server.addresses.ipv4, String(PORT), String(settings.seconds)];
        const said = await bench.output(plain.client, [program, ...to, ...[first, second].map(namespaceOf)]);
        return said.split(' ').map(Number);
      };
      const against = async (lab: Lab): Promise<Round[]> => {
        const all: Round[] = [];
        for (let round = 0; round < settings.rounds * ROUNDS; round++) {
          const ordered = round % 2 === 0;
          const [first = 0, second = 0] = await (ordered ? sides(lab, plain) : sides(plain, lab));
          all.push(ordered ? { value: first, baseline: second } : { value: second, baseline: first });
        }
        return all;
      };
      const atOne = async (end: Host['name']): Promise<Round[]> => {
        const lab = open();
        await startControl(lab, lab[end]);
        return against(lab);
      };
      return {
        figures: [
          figure('sent by such an interface: ratio', '', ratios(await atOne('client')), atLeast(0.98)),
          figure('received by such an interface: ratio', '', ratios(await atOne('server')), atLeast(0.98)),
          ...compared('sent by one and received by another', '1/s', await against(stealth.lab)),
        ],
      };
    } finally {
      for (const lab of labs) lab.close();
    }
  },
};
