import { atMost, type Figure, figure, type Row } from '../row.ts';
import { medianWithin } from '../statistics.ts';

const BLOCKS = 100;
/** Where nobody needs to listen: a delayed connect sends nothing. */
const PORT = 7041;
/** What a line is of beside something that stealth does have to do with. */
const BESIDE = 'beside';

/** Of lines of a call's name and nanoseconds. */
function byCall(text: string): Map<string, number[]> {
  const added = new Map<string, number[]>();
  for (const line of text.trim().split('\n')) {
    const [name = '', nanoseconds] = line.split('\t');
    const samples = added.get(name) ?? [];
    samples.push(Number(nanoseconds));
    added.set(name, samples);
  }
  return added;
}

/** The call whose own time is the longest, so that its measurement is the most in doubt. */
const LONGEST = 'poll of 1000';

export const untracked: Row = {
  id: 'untracked',
  title: 'a call on a descriptor that stealth has nothing to do with',
  baseline: "the C library's own function, in the same process",
  async measure(bench) {
    const { client, server } = bench.stealth;
    const blocks = String(BLOCKS * bench.settings.rounds);
    const command = [bench.program('untracked', '-ldl'), blocks];
    const beside = [server.addresses.ipv4, String(PORT)];
    // The library would explain why nothing comes of the connect.
    const knock = { ...bench.stealth.knock(client, 'integrity'), loglevel: 0 };
    const added = byCall(await bench.output(client, [...command, ...beside], knock));
    const nothing = byCall(await bench.output(client, command)).get(LONGEST) ?? [];
    const surely = (one: Figure): Figure => ({ ...one, within: medianWithin(one.samples) });
    const figures = [...added].map(([name, samples]) =>
      figure(`added to ${name}`, 'ns', samples, name.includes(BESIDE) ? undefined : atMost(5)),
    );
    const control = figure(`added to ${LONGEST} by no library: the measurement's own`, 'ns', nothing);
    return { figures: [...figures, control].map(surely) };
  },
};
