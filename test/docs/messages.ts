import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY } from '../lab/program.ts';
import { literalsOf, literalsOfC } from './literals.ts';

/** What the sources can say to people, piece by piece: a message may be put together of several. */
export interface Piece {
  readonly file: string;
  /** What is put in is `…`. */
  readonly text: string;
}

/** Where messages are made. */
const FOLDERS = [
  'ts/api',
  'ts/cli',
  'ts/config',
  'ts/control',
  'ts/engine',
  'ts/stealth',
  'ts/sys',
  'native',
  'shim',
];
/** Three words, one after the other: fewer are names, keys and the like. */
const PROSE = /(?:[A-Za-z][\w'-]*[,:;]? ){2}[A-Za-z]/;

export function pieces(): Piece[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(REPOSITORY, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|c)$/.test(name) && !/^(generated|bpf)\//.test(name))
      .sort()
      .flatMap((name) => piecesOf(`${folder}/${name}`)),
  );
}

function piecesOf(file: string): Piece[] {
  const source = readFileSync(join(REPOSITORY, file), 'utf8');
  const literals = file.endsWith('.c') ? literalsOfC(source) : literalsOf(source);
  return literals.map((text) => ({ file, text: text.replace(/\s+/g, ' ').trim() }));
}

export function isProse({ text }: Piece): boolean {
  return PROSE.test(text.replaceAll('…', ' '));
}
