import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { REPOSITORY } from '../lab/program.ts';

/** A fenced block of a document. */
export interface Block {
  readonly file: string;
  /** The heading that it stands under, without its marks. */
  readonly section: string;
  readonly language: string;
  readonly text: string;
}

/** README.md and what is in docs/, but for the manual pages. */
export const DOCUMENTS: readonly string[] = [
  'README.md',
  ...readdirSync(join(REPOSITORY, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

export function read(file: string): string {
  return readFileSync(join(REPOSITORY, file), 'utf8');
}

export function blocksOf(file: string): Block[] {
  const blocks: Block[] = [];
  let section = '';
  let block: { language: string; lines: string[] } | undefined;
  for (const line of read(file).split('\n')) {
    const fence = /^\s*```(\S*)/.exec(line);
    if (fence !== null && block === undefined) block = { language: fence[1] ?? '', lines: [] };
    else if (fence !== null && block !== undefined) {
      blocks.push({ file, section, language: block.language, text: block.lines.join('\n') });
      block = undefined;
    } else if (block !== undefined) block.lines.push(line);
    else section = /^#+ (.*)/.exec(line)?.[1] ?? section;
  }
  return blocks;
}

/** Code within the text, outside of blocks. */
export function inlineCodeOf(file: string): string[] {
  const text = read(file).replace(/^\s*```.*?^\s*```/gms, '');
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
}

/** What a document's links lead to within the repository, without the places there. */
export function linksOf(file: string): string[] {
  const targets = [...read(file).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  const own = targets.filter((target) => !/^(https?:|#)/.test(target));
  return own.map((target) => normalize(join(dirname(file), target.replace(/#.*/, ''))));
}
