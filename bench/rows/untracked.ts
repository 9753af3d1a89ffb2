import { atMost, figure, type Row } from '../row.ts';

const BATCHES = 200;

export const untracked: Row = {
  id: 'untracked',
  title: 'a call on a descriptor that stealth has nothing to do with',
  baseline: "the C library's own function, in the same process",
  async measure(bench) {
    const { stealth } = bench;
    const command = [bench.program('untracked', '-ldl'), String(BATCHES * bench.settings.rounds)];
    const added = new Map<string, number[]>();
    for (const line of (await bench.output(stealth.client, command, stealth.knock(stealth.client)))
      .trim()
      .split('\n')) {
      const [name = '', through = 0, own = 0] = line
        .split(' ')
        .map((text, i) => (i === 0 ? text : Number(text)));
      const samples = added.get(String(name)) ?? [];
      samples.push(Number(through) - Number(own));
      added.set(String(name), samples);
    }
    const target = atMost(5);
    return {
      figures: [...added].map(([name, samples]) =>
        figure(name === 'poll' ? 'added to poll of 1000' : `added to ${name}`, 'ns', samples, target),
      ),
    };
  },
};
