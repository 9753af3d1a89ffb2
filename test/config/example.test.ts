import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { KEY_LIST, keyNamed, namesOf } from '../../ts/config/keys.ts';
import { readSettings } from '../../ts/config/settings.ts';

const example = readFileSync(new URL('../../.knockrc.example', import.meta.url), 'utf8');
/** Settings of the example, those too that are commented out: `#KEY=VALUE` without a blank. */
const lines = [...example.matchAll(/^#?(\w+)=.*$/gm)].map(([line, key = '']) => ({
  key,
  setting: line.replace(/^#/, ''),
}));
const parse = (text: string) =>
  readSettings({ env: new Map(), rc: { path: '.knockrc.example', text: Buffer.from(text) } });

describe('.knockrc.example', () => {
  test('is accepted as it is', () => {
    expect(parse(example).secret).toMatchObject({ kind: 'file' });
  });

  test.each(lines)('the line $setting is accepted', ({ setting }) => {
    expect(() => parse(setting)).not.toThrow();
  });

  test('is accepted with every key but the alternative secrets', () => {
    const first = lines.filter(({ key }, i) => lines.findIndex((line) => line.key === key) === i);
    const settings = parse(first.map(({ setting }) => setting).join('\n'));
    expect(Object.values(settings)).not.toContain(undefined);
  });

  test('is accepted with its sections', () => {
    const from = example.indexOf('\n#[');
    const sections = example.slice(from).replace(/^#/gm, '');
    expect(parse(example.slice(0, from) + sections).sections.map(({ targets }) => targets.length)).toEqual([
      1, 2,
    ]);
  });

  test.each(KEY_LIST.flatMap(namesOf))('explains %s', (name) => {
    expect(example).toContain(name);
  });

  test('says how to protect the file', () => {
    expect(example).toContain('chmod 600');
  });
});

describe('the table of keys', () => {
  test.each(KEY_LIST)('$name: its example is accepted, its texts are there', (spec) => {
    expect(() => parse(`${spec.name}=${spec.example}`)).not.toThrow();
    for (const text of [spec.default, spec.rule, spec.description]) expect(text).not.toBe('');
    for (const name of namesOf(spec)) expect(keyNamed(name)).toBe(spec);
  });
});
