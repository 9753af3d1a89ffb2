import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { REPOSITORY } from '../lab/program.ts';
import { blocksOf, DOCUMENTS, inlineCodeOf, read } from './blocks.ts';

/** What the documents point to is there. */

/** As GitHub names the places that headings make. */
function anchorsOf(file: string): string[] {
  const headings = [...read(file).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-'),
  );
}

/** What `npm run bench` writes, and docs/performance.md shows, is not there before the first run. */
const BENCHED = 'bench/results';

test.each(DOCUMENTS)('the links of %s lead somewhere', (file) => {
  const targets = [...read(file).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  const broken = targets.filter((target) => {
    if (/^https?:/.test(target)) return false;
    const [path = '', anchor] = target.split('#');
    const there = path === '' ? file : normalize(join(dirname(file), path));
    if (/^(docs\/)?bench\//.test(there) && !existsSync(join(REPOSITORY, BENCHED))) return false;
    if (!existsSync(join(REPOSITORY, there))) return true;
    return anchor !== undefined && !anchorsOf(there).includes(anchor);
  });
  expect(broken).toEqual([]);
});

test.each(DOCUMENTS)('the files that %s names are there', (file) => {
  const named = inlineCodeOf(file).filter((text) =>
    /^(test|ts|shim|native|packaging|examples|docs)\/[\w./-]+$/.test(text),
  );
  expect(named.filter((path) => !existsSync(join(REPOSITORY, path)))).toEqual([]);
});

test('the programs and options in docs/how-it-works.md are those of the sources', () => {
  const names = inlineCodeOf('docs/how-it-works.md').filter((text) =>
    /^(knock_|TCP_|SO_|IP_|BPF_)\w+$/.test(text),
  );
  const sources = ['native', 'native/bpf', 'ts/sys', 'ts/engine/stock'].flatMap((folder) =>
    readdirSync(join(REPOSITORY, folder))
      .filter((name) => /\.(c|h|ts)$/.test(name))
      .map((name) => readFileSync(join(REPOSITORY, folder, name), 'utf8')),
  );
  expect(names.length).toBeGreaterThan(10);
  expect(names.filter((name) => !sources.some((text) => text.includes(name)))).toEqual([]);
});

test('no diagram has a semicolon, which ends a line for Mermaid', () => {
  const diagrams = DOCUMENTS.flatMap(blocksOf).filter(({ language }) => language === 'mermaid');
  expect(diagrams.length).toBeGreaterThan(4);
  expect(diagrams.filter(({ text }) => text.includes(';'))).toEqual([]);
});
