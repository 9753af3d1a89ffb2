import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { REPOSITORY } from '../lab/program.ts';
import { literalsOf, literalsOfC } from './literals.ts';
import { isProse, type Piece, pieces } from './messages.ts';

/** docs/troubleshooting.md lists what users can be told, and nothing else. */

const read = (file: string) => readFileSync(join(REPOSITORY, file), 'utf8');
/** As it was before the reference escaped it. */
const flat = (text: string) => text.replace(/\\([\\*_<>|[\]`])/g, '$1').replace(/\s+/g, ' ');

/** The code in the first column of the tables under "By message". */
function documented(): string[] {
  const [, part = ''] = read('docs/troubleshooting.md').split('## By message\n');
  const cells = [...part.matchAll(/^\| (`.*?`) \| /gm)].map(([, cell = '']) => cell);
  return cells.flatMap((cell) => cell.slice(1, -1).split('`<br>`')).map(flat);
}

/** Says what is, or explains itself where it stands: no trouble. */
const NO_TROUBLE: readonly RegExp[] = [
  // What a check advises, and the columns of its tables.
  /^ts\/cli\/check\/(verdict|report)\.ts /,
  /^ts\/cli\/check\/port\.ts (waiting for|trying it|without the secret)/,
  /^ts\/cli\/check\/way\.ts (waiting for|the way to|start 'knockify check)/,
  /^ts\/cli\/check\/setup\.ts ; … more of its addresses/,
  /^ts\/cli\/check\/otherEnd\.ts (open to everybody|…: it has another|…: told what)/,
  /^ts\/cli\/check\/listener\.ts there is no address/,
  // What doctor found where nothing is wrong, and the names of its checks.
  /^ts\/cli\/(checks|controlTrial|engineTrial)\.ts (Linux|BPF|arming|guarding|… with|none here|not needed|not tried: (the|there|this|filters)|a scratch|the control process took)/,
  /^ts\/cli\/(checks|controlTrial)\.ts (, and|for some targets only|none: there is no|not tried: it depends)/,
  /^ts\/cli\/removeFilters\.ts (No control process|The filters are)/,
  // What the metrics are.
  /^ts\/control\/metrics\.ts /,
  // Help, progress, and what `knockify secret` prints.
  /^ts\/cli\/commands\.ts /,
  /^ts\/cli\/(run|status|events)\.ts (starting a control|waiting for the control|following what comes)/,
  /^ts\/cli\/oneLineErrors\.ts \(did you mean/,
  /^ts\/cli\/control\.ts accept the named secrets/,
  /^ts\/cli\/secret\.ts (write a|Copy it to|or as a line|fingerprint|…the old one|old, valid|is (not )?valid|… is revoked)/,
  // What a value must be stands in the reference, and behind the messages.
  /^ts\/(config\/keys|cli\/control)\.ts (a whole number|Must be an octal)/,
  // Mistakes of ours, which no input leads to.
  /^ts\/(stealth|sys|engine)\/.* (MD5 round|.*: use padSecret|destination address of|.*-bit integer|a socket address of|a note of|port … is not|slot … is|there is no slot)/,
  /^ts\/stealth\/secret\.ts knockify secret fingerprint/,
];

const troublesome = (piece: Piece) => !NO_TROUBLE.some((known) => known.test(`${piece.file} ${piece.text}`));

/** The fixed parts of a text. A full stop at its end is no part of what people look for. */
const fragments = (text: string) =>
  text
    .replace(/\.$/, '')
    .split('…')
    .filter((part) => part !== '');

/** Whether the fixed parts of a piece are in a message, in their order. */
function isIn(piece: string, message: string): boolean {
  let at = 0;
  return fragments(piece).every((part) => {
    const found = message.indexOf(part, at);
    at = found + part.length;
    return found >= 0;
  });
}

const all = pieces();
const reference = flat(read('docs/configuration.md')).toLowerCase();
/** The settings' and commands' own descriptions are in the reference, word for word. */
const isInReference = ({ text }: Piece) => reference.includes(text.replace(/[. ]+$/, '').toLowerCase());
const messages = all.filter((piece) => isProse(piece) && !isInReference(piece) && troublesome(piece));
const list = documented();

test('every message is in the list', () => {
  const missing = messages.filter(({ text }) => !list.some((message) => isIn(text, message)));
  expect(missing, 'add them to docs/troubleshooting.md (By message), or to NO_TROUBLE').toEqual([]);
});

test('nothing is in the list that nobody says', () => {
  const prose = all.filter(isProse).map(({ text }) => text);
  const short = all.map(({ text }) => text).join('\n');
  const stale = list.filter((message) => {
    const parts = prose.filter((text) => isIn(text, message));
    const rest = parts
      .sort((a, b) => b.length - a.length)
      .flatMap(fragments)
      .reduce((left, part) => left.replace(part, '…'), message);
    // What is left over was put in: it must be somebody's words too.
    const words = rest.split(/[…—]/).filter((part) => /[A-Za-z]{3}/.test(part));
    return parts.length === 0 || !words.every((part) => short.includes(part.trim()));
  });
  expect(stale, 'take them out of docs/troubleshooting.md').toEqual([]);
});

test('no message is listed twice', () => {
  expect(list.filter((message, i) => list.indexOf(message) !== i)).toEqual([]);
});

test('the list is as long as it looks', () => {
  expect(list.length).toBeGreaterThan(150);
  expect(messages.length).toBeGreaterThan(150);
});

describe('the scanner', () => {
  test.each([
    ['plain', `f('one two') + "it's"`, ['one two', "it's"]],
    ['escapes', `'it\\'s\\n'`, ["it's\n"]],
    ['templates, and what is in them', `\`a \${b ? \`c \${d}\` : "e"} f\``, ['c …', 'e', 'a … f']],
    ['braces in placeholders', `\`a \${f({ g: 1 })} b\``, ['a … b']],
    ['no comments', `// 'a'\n/* 'b' */ 'c'`, ['c']],
    ['no regular expressions', `x.replace(/['"\`]/g, 'a'); return /'/ && 'b' / 2`, ['a', 'b']],
  ])('takes %s', (_, source, expected) => {
    expect(literalsOf(source)).toEqual(expected);
  });

  test('joins the literals of C, and knows its conversions', () => {
    const source = '#include "x.h"\n// "no"\nlog(1, "a %s: %.*s "\n    "b %u\\n", c);';
    expect(literalsOfC(source)).toEqual(['a …: … b …\n']);
  });
});
