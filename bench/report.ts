import type { Machine } from './machine.ts';
import { shown } from './plot.ts';
import type { Figure, Measurement, Row } from './row.ts';

/** What a row's result file holds. */
export interface Result extends Measurement {
  readonly id: string;
  readonly title: string;
  readonly baseline: string;
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
}

export function resultOf(row: Row, measurement: Measurement, machine: Machine, date: Date): Result {
  const { id, title, baseline } = row;
  return { id, title, baseline, date: date.toISOString(), machine, ...measurement };
}

function medianOf({ summary, unit, within }: Figure): string {
  const sure = within ? `; ${within.map(shown).join(' to ')} at 95 %` : '';
  const spread = summary.count > 1 ? ` (${shown(summary.low)} to ${shown(summary.high)}${sure})` : '';
  return `${shown(summary.median)}${unit === '' ? '' : ` ${unit}`}${spread}`;
}

function targetOf({ target, met }: Figure): string {
  if (target === undefined) return '';
  return `${target.bound === 'at least' ? '≥' : '≤'} ${shown(target.value)}: ${met ? 'yes' : '**no**'}`;
}

/** Of all rows, each figure with its median, the middle half of its samples, and whether that is what it should be. */
export function table(results: readonly Result[]): string {
  const lines = results.flatMap((result) =>
    result.figures.map((figure, i) => {
      const what = i === 0 ? `[${result.title}](bench/${result.id}.svg); against: ${result.baseline}` : '';
      return `| ${what} | ${figure.name} | ${medianOf(figure)} | ${targetOf(figure)} |`;
    }),
  );
  return ['| what | figure | median (middle half) | to reach |', '|---|---|---|---|', ...lines].join('\n');
}

/** Where, when and of what a row was measured. */
export function placeOf({ date, machine }: Pick<Result, 'date' | 'machine'>): string {
  const { kernel, cpu, cores, node, commit } = machine;
  const place = `${date.slice(0, 10)}, Linux ${kernel}, ${cores} × ${cpu}, Node ${node}`;
  return commit === undefined ? place : `${place}, commit ${commit}`;
}

/** Those of one place in one line. */
export function provenance(results: readonly Result[]): string {
  const places = new Map<string, string[]>();
  for (const result of results) {
    const place = placeOf(result);
    places.set(place, [
      ...(places.get(place) ?? []),
      `${result.id} (load ${result.machine.load.toFixed(1)})`,
    ]);
  }
  return [...places].map(([place, ids]) => `${place}: ${ids.join(', ')}.`).join('\n\n');
}

const BEGIN = '<!-- figures: npm run bench -->';
const END = '<!-- end of figures -->';

/** The document with new figures between its marks. Throws where there are none. */
export function filledIn(document: string, figures: string): string {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`the document has no ${BEGIN} … ${END}`);
  return `${document.slice(0, begin + BEGIN.length)}\n\n${figures}\n\n${document.slice(end)}`;
}
