import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { interleaved, medianWithin, quantile, ratios, summarise } from '../../bench/statistics.ts';

describe('quantiles', () => {
  test.each([
    { samples: [7], q: 0.5, expected: 7 },
    { samples: [3, 1, 2], q: 0.5, expected: 2 },
    { samples: [4, 1, 3, 2], q: 0.5, expected: 2.5 },
    { samples: [10, 20, 30, 40, 50], q: 0.25, expected: 20 },
    { samples: [10, 20, 30, 40, 50], q: 0.99, expected: 49.6 },
    { samples: [1, 2], q: 1, expected: 2 },
  ])('$q of $samples is $expected', ({ samples, q, expected }) => {
    expect(quantile(samples, q)).toBeCloseTo(expected, 9);
  });

  test('of nothing there are none', () => expect(quantile([], 0.5)).toBeNaN());

  test('lie among the samples, in order, whatever the samples are', () => {
    const samples = fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(samples, (all) => {
        const { low, median, high } = summarise(all);
        const ordered = [Math.min(...all), low, median, high, Math.max(...all)];
        expect(ordered).toEqual(ordered.toSorted((a, b) => a - b));
      }),
    );
  });
});

describe('where the median is', () => {
  /** The nth of a thousand runs' samples: the squares of numbers that are spread evenly, by a simple generator. */
  const samplesOf = (run: number) => {
    let state = run * 2654435761;
    return Array.from({ length: 200 }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state / 2 ** 32) ** 2;
    });
  };

  test('is said rightly 95 times in 100', () => {
    const right = Array.from({ length: 1000 }, (_, run) => medianWithin(samplesOf(run))).filter(
      ([low, high]) => low <= 0.25 && 0.25 <= high,
    );
    expect(right.length).toBeGreaterThan(930);
    expect(right.length).toBeLessThan(970);
  });

  test('is no more than known of a few samples', () => {
    expect(medianWithin([5])).toEqual([5, 5]);
    expect(medianWithin([1, 2, 3])).toEqual([1, 3]);
  });
});

test('a machine that is slow for a round changes no ratio', () => {
  const rounds = [1, 10, 100].map((slowness) => ({ value: 3 * slowness, baseline: 4 * slowness }));
  expect(ratios(rounds)).toEqual([0.75, 0.75, 0.75]);
});

test('value and baseline take turns in being first', async () => {
  const order: string[] = [];
  const measure = (name: string) => async () => order.push(name);
  const rounds = await interleaved(3, measure('value'), measure('baseline'));
  expect(order).toEqual(['value', 'baseline', 'baseline', 'value', 'value', 'baseline']);
  expect(rounds).toEqual([
    { value: 1, baseline: 2 },
    { value: 4, baseline: 3 },
    { value: 5, baseline: 6 },
  ]);
});
