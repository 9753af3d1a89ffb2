import { describe, expect, test } from 'vitest';
import { plotCurves, plotFigures, shown } from '../../bench/plot.ts';
import { filledIn, provenance, type Result, resultOf, table } from '../../bench/report.ts';
import { atLeast, atMost, compared, figure, type Row } from '../../bench/row.ts';

const row: Row = { id: 'sample', title: 'a < b', baseline: 'b & c', measure: async () => ({ figures: [] }) };
const machine = { kernel: '6.1.0', cpu: 'a CPU', cores: 2, memory: 4000, node: 'v20.0.0', load: 0.31 };
const figures = [
  figure('latency', 'µs', [50, 70, 60], atMost(60)),
  ...compared(
    'rate',
    '1/s',
    [
      { value: 90, baseline: 100 },
      { value: 1980, baseline: 2000 },
    ],
    atLeast(0.97),
  ),
];
const result: Result = resultOf(row, { figures }, machine, new Date('2026-01-02T03:04:05Z'));

describe('a figure', () => {
  test.each([
    { samples: [59, 61, 60], target: atMost(60), met: true },
    { samples: [59, 61, 62], target: atMost(60), met: false },
    { samples: [0.97], target: atLeast(0.97), met: true },
    { samples: [0.9, 0.96, 1.2], target: atLeast(0.97), met: false },
  ])('of $samples meets $target: $met', ({ samples, target, met }) => {
    expect(figure('x', '', samples, target).met).toBe(met);
  });

  test('without a target meets none', () => expect(figure('x', '', [1]).met).toBeUndefined());
});

describe('the table', () => {
  test('has a line for each figure, with its spread and what it was to reach', () => {
    expect(table([result]).split('\n')).toEqual([
      '| what | figure | median (middle half) | to reach |',
      '|---|---|---|---|',
      '| [a < b](bench/sample.svg); against: b & c | latency | 60 µs (55 to 65) | ≤ 60: yes |',
      '|  | rate | 1,035 1/s (563 to 1,508) |  |',
      '|  | rate: baseline | 1,050 1/s (575 to 1,525) |  |',
      '|  | rate: ratio | 0.945 (0.923 to 0.968; 0.9 to 0.99 at 95 %) | ≥ 0.97: **no** |',
    ]);
  });

  test('has where a median is, if that was asked for', () => {
    const sure = { ...figure('added', 'ns', [1, 2, 3]), within: [1, 3] as const };
    expect(table([{ ...result, figures: [sure] }])).toContain(
      '| added | 2 ns (1.5 to 2.5; 1 to 3 at 95 %) |  |',
    );
  });

  test('says once where and when its rows were measured', () => {
    expect(provenance([result, { ...result, id: 'other' }])).toBe(
      '2026-01-02, Linux 6.1.0, 2 × a CPU, Node v20.0.0: sample (load 0.3), other (load 0.3).',
    );
  });

  test('goes between the marks of the document, again and again', () => {
    const document = 'before\n<!-- figures: npm run bench -->\nold\n<!-- end of figures -->\nafter\n';
    const once = filledIn(document, 'new');
    expect(once).toBe('before\n<!-- figures: npm run bench -->\n\nnew\n\n<!-- end of figures -->\nafter\n');
    expect(filledIn(once, 'new')).toBe(once);
    expect(() => filledIn('no marks', 'new')).toThrow('the document has no');
  });
});

describe('plots', () => {
  /** Elements as they are opened and closed; throws where they don't match. */
  function wellFormed(svg: string): string[] {
    const open: string[] = [];
    const seen: string[] = [];
    for (const [, close, name = '', rest = ''] of svg.matchAll(/<(\/?)([a-z]+)([^>]*)>/g)) {
      seen.push(name);
      if (close) expect(open.pop()).toBe(name);
      else if (!rest.endsWith('/')) open.push(name);
    }
    expect(open).toEqual([]);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    return seen;
  }

  test('of figures have a line, a median and a label each, and a dot a sample', () => {
    const svg = plotFigures('a < b & c', 'here & now', figures);
    const elements = wellFormed(svg);
    expect(elements.filter((name) => name === 'circle')).toHaveLength(3 + 3 * 2);
    for (const { name, summary, unit } of figures) {
      expect(svg).toContain(`>${name}</text>`);
      expect(svg).toContain(`>${`${shown(summary.median)} ${unit}`.trim()}</text>`);
    }
    expect(svg).toContain('a &lt; b &amp; c');
    expect(svg).toContain('here &amp; now');
  });

  test('of very many samples stay small', () => {
    const svg = plotFigures('x', 'here', [
      figure(
        'many',
        'ns',
        Array.from({ length: 100_000 }, (_, i) => i),
      ),
    ]);
    wellFormed(svg);
    expect(svg.length).toBeLessThan(100_000);
  });

  test('of curves have a line and a label each', () => {
    const points = [1, 10, 100].map((x) => ({ x, samples: [x, 2 * x, 3 * x] }));
    const svg = plotCurves('growth', 'here', {
      x: 'how many',
      y: 'µs',
      lines: [
        { name: 'one', points },
        { name: 'two', points: points.slice(1) },
      ],
    });
    expect(wellFormed(svg).filter((name) => name === 'path')).toHaveLength(2);
    for (const text of ['one', 'two', 'how many', 'µs']) expect(svg).toContain(`>${text}</text>`);
  });
});

test.each([
  [0.98765, '0.988'],
  [12.345, '12.3'],
  [1234.5, '1,235'],
  [-0.5, '-0.5'],
])('%d is shown as %s', (value, expected) => expect(shown(value)).toBe(expected));
