import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { REPOSITORY } from '../lab/program.ts';
import { fetchKernel, type Report, runInside } from './machine.ts';
import { render, withoutFigures } from './report.ts';
import { FILES, SERIES, type Series } from './table.ts';

/** What holds on this machine's kernel holds on Debian's. */

const LIMIT = 5_400_000;
const reports = new Map<Series, Report>();

// Both at once: each machine has one processor, and so takes one of ours.
beforeAll(async () => {
  const files = FILES.map(({ file }) => file);
  for (const series of SERIES) await fetchKernel(series);
  await Promise.all(SERIES.map(async (series) => reports.set(series, await runInside(series, files, LIMIT))));
}, LIMIT + 300_000);

describe.each(SERIES)('Linux %s', (series) => {
  test('is the kernel that ran', () => {
    expect(reports.get(series)?.release).toMatch(new RegExp(`^${series.replace('.', '\\.')}\\.`));
  });

  test.each(FILES)('$file', ({ file }) => {
    const found = reports.get(series)?.files.get(file);
    expect([...(found?.failed ?? [])]).toEqual([]);
    expect(found?.passed.length).toBeGreaterThan(0);
  });
});

test('docs/kernels.md is what these tests found', async () => {
  expect([...reports.keys()]).toEqual(SERIES);
  const file = join(REPOSITORY, 'docs/kernels.md');
  const date = new Date().toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric' });
  const found = render(reports, date);
  const known = existsSync(file) ? readFileSync(file, 'utf8') : '';
  await expect(withoutFigures(known) === withoutFigures(found) ? known : found).toMatchFileSnapshot(file);
});
