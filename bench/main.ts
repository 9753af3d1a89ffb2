import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Bench } from './bench.ts';
import { machine } from './machine.ts';
import { plotCurves, plotFigures, shown } from './plot.ts';
import { filledIn, placeOf, provenance, type Result, resultOf, table } from './report.ts';
import { rows } from './rows/index.ts';

/**
 * `npm run bench [-- [--rounds N] [--seconds S] ROW…]` measures the rows named, or all, and writes what it found to
 * bench/results, docs/bench and the table of docs/performance.md.
 */

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url));
const RESULTS = join(REPOSITORY, 'bench/results');
const PLOTS = join(REPOSITORY, 'docs/bench');
const DOCUMENT = join(REPOSITORY, 'docs/performance.md');

function write(result: Result): void {
  mkdirSync(RESULTS, { recursive: true });
  mkdirSync(PLOTS, { recursive: true });
  writeFileSync(join(RESULTS, `${result.id}.json`), `${JSON.stringify(result)}\n`);
  const { title, figures, curves } = result;
  const footer = placeOf(result);
  writeFileSync(join(PLOTS, `${result.id}.svg`), plotFigures(title, footer, figures));
  if (curves !== undefined)
    writeFileSync(join(PLOTS, `${result.id}-curves.svg`), plotCurves(title, footer, curves));
}

function results(): Result[] {
  return rows
    .map(({ id }) => join(RESULTS, `${id}.json`))
    .filter((file) => existsSync(file))
    .map((file) => JSON.parse(readFileSync(file, 'utf8')) as Result);
}

const { values, positionals } = parseArgs({
  options: { rounds: { type: 'string', default: '9' }, seconds: { type: 'string', default: '1' } },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => !rows.some(({ id }) => id === name));
if (unknown.length > 0) {
  console.error(
    `bench: there is no row ${unknown.join(', ')}; there are ${rows.map(({ id }) => id).join(', ')}`,
  );
  process.exit(2);
}
for (const row of rows.filter(({ id }) => positionals.length === 0 || positionals.includes(id))) {
  console.log(`\n${row.title}`);
  const bench = await Bench.open({ rounds: Number(values.rounds), seconds: Number(values.seconds) });
  try {
    const begun = machine();
    const result = resultOf(row, await row.measure(bench), begun, new Date());
    write(result);
    for (const { name, unit, summary, target, met } of result.figures) {
      const wanted = target
        ? `, ${met ? 'as' : 'NOT as'} wanted (${target.bound} ${shown(target.value)})`
        : '';
      console.log(`  ${name}: ${shown(summary.median)} ${unit}${wanted}`);
    }
  } finally {
    bench.close();
  }
}
const all = results();
writeFileSync(DOCUMENT, filledIn(readFileSync(DOCUMENT, 'utf8'), `${table(all)}\n\n${provenance(all)}`));
