/** Order statistics of one quantity. */
export interface Summary {
  readonly count: number;
  readonly median: number;
  /** Quartiles: the spread. */
  readonly low: number;
  readonly high: number;
}

/** The q-quantile, 0 to 1, between the two nearest samples. NaN without samples. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const [below = Number.NaN, above = Number.NaN] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return below + (above - below) * (at - Math.floor(at));
}

export function summarise(samples: readonly number[]): Summary {
  return {
    count: samples.length,
    median: quantile(samples, 0.5),
    low: quantile(samples, 0.25),
    high: quantile(samples, 0.75),
  };
}

/**
 * Where the median of all samples that could be taken is, at a confidence of 95 %, whatever their distribution: between two of
 * those that were taken, by the binomial distribution of how many are below it (its normal approximation).
 */
export function medianWithin(samples: readonly number[]): readonly [low: number, high: number] {
  const aside = 0.98 / Math.sqrt(samples.length);
  return [quantile(samples, Math.max(0, 0.5 - aside)), quantile(samples, Math.min(1, 0.5 + aside))];
}

/** What was measured and its baseline in the same round, one right after the other. */
export interface Round {
  readonly value: number;
  readonly baseline: number;
}

/** Of the ratios of the rounds, not the ratio of medians: what slows a whole round down cancels out. */
export function ratios(rounds: readonly Round[]): number[] {
  return rounds.map(({ value, baseline }) => value / baseline);
}

/**
 * Rounds in which the value is measured first and rounds in which its baseline is take turns, so that neither always
 * meets a machine that the other has warmed up. `done` is told after each round.
 */
export async function interleaved(
  rounds: number,
  value: () => Promise<number>,
  baseline: () => Promise<number>,
  done: () => void = () => {},
): Promise<Round[]> {
  const all: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    const [measured, against] = await inTurns(round, value, baseline);
    all.push({ value: measured, baseline: against });
    done();
  }
  return all;
}

/** The same for more than two that are no ratio: what each of them came to, in the order in which they are given. */
export async function inTurns<T extends readonly unknown[]>(
  round: number,
  ...measurements: { readonly [K in keyof T]: () => Promise<T[K]> }
): Promise<T> {
  const order = [...measurements.keys()];
  if (round % 2 === 1) order.reverse();
  const results: unknown[] = [];
  for (const index of order) results[index] = await measurements[index]?.();
  return results as unknown as T;
}
