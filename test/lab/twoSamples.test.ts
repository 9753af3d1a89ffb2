import { expect, test } from 'vitest';
import { compareSamples, median, probesThroughJitter, probesToTell } from './twoSamples.ts';

test('the Mann-Whitney test gives the values of the textbook', () => {
  const { shift, superiority, z, p } = compareSamples([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]);
  expect([shift, superiority]).toEqual([5, 1]);
  // U = 25, expected 12.5, standard deviation √(25 · 11 / 12).
  expect(z).toBeCloseTo(2.6112, 4);
  expect(p).toBeCloseTo(0.00902, 5);
});

test('ties count half, and equal samples do not differ', () => {
  expect(compareSamples([1, 1, 2], [1, 2, 2])).toMatchObject({ superiority: 6 / 9, shift: 1 });
  const same = compareSamples([3, 1, 2], [2, 3, 1]);
  expect(same).toMatchObject({ shift: 0, superiority: 0.5, z: 0 });
  expect(same.p).toBeCloseTo(1, 5);
});

test('medians of even and odd samples', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
});

test('the smaller the difference, the more probes', () => {
  expect(probesToTell(0.75)).toBe(35);
  expect(probesToTell(0.51)).toBe(21_661);
  expect(probesThroughJitter(1, 100)).toBe(259_921);
});
