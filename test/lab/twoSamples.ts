/** How two samples differ. */
export interface Difference {
  /** Of the medians, second minus first, in the samples' unit. */
  readonly shift: number;
  /** How likely a value of the second sample is above one of the first, ties counted half: 0.5 is no difference. */
  readonly superiority: number;
  /** Of the Mann-Whitney test, two-sided. */
  readonly z: number;
  readonly p: number;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low = 0, high = 0] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return (low + high) / 2;
}

/** The part of the normal distribution beyond ±z, after Abramowitz and Stegun 7.1.26 (error below 1.5e-7). */
function beyond(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const coefficients = [0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429];
  return coefficients.reduceRight((sum, c) => (sum + c) * t, 0) * Math.exp(-x * x);
}

/** The Mann-Whitney test with mid-ranks, normal approximation and correction for ties: for hundreds of values and more. */
export function compareSamples(first: readonly number[], second: readonly number[]): Difference {
  const all = [...first.map((value) => ({ value, own: 0 })), ...second.map((value) => ({ value, own: 1 }))];
  all.sort((a, b) => a.value - b.value);
  let [ranks, ties] = [0, 0];
  for (let start = 0, end = 0; start < all.length; start = end) {
    while (end < all.length && all[end]?.value === all[start]?.value) end++;
    const [tied, rank] = [end - start, (start + 1 + end) / 2];
    ties += tied ** 3 - tied;
    ranks += rank * all.slice(start, end).filter(({ own }) => own === 1).length;
  }
  const [n, m, N] = [first.length, second.length, all.length];
  const u = ranks - (m * (m + 1)) / 2;
  const deviation = Math.sqrt(((n * m) / 12) * (N + 1 - ties / (N * (N - 1))));
  const z = (u - (n * m) / 2) / deviation;
  return { shift: median(second) - median(first), superiority: u / (n * m), z, p: beyond(z) };
}

/** Two-sided 5 % and a power of 95 %. */
const QUANTILES = 1.96 + 1.645;

/** How many probes of each kind would tell, after Noether: 5 % error of either kind. */
export function probesToTell(superiority: number): number {
  return Math.ceil(QUANTILES ** 2 / (6 * (superiority - 0.5) ** 2));
}

/** The same where jitter with this standard deviation buries a shift. */
export function probesThroughJitter(shift: number, jitter: number): number {
  return Math.ceil(2 * ((QUANTILES * jitter) / shift) ** 2);
}
