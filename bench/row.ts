import type { Bench } from './bench.ts';
import { medianWithin, type Round, ratios, type Summary, summarise } from './statistics.ts';

/** What a figure has to reach. */
export interface Target {
  readonly bound: 'at least' | 'at most';
  readonly value: number;
}

/** One figure of a row: the samples that it comes from, and what it has to reach. */
export interface Figure {
  readonly name: string;
  /** Empty for a ratio. */
  readonly unit: string;
  readonly summary: Summary;
  /** Where the median is at a confidence of 95 %, if that was asked for. */
  readonly within?: readonly [low: number, high: number] | undefined;
  readonly target?: Target | undefined;
  /** Undefined without a target. */
  readonly met?: boolean | undefined;
  readonly samples: readonly number[];
}

/** A figure that depends on another quantity: its samples by that. */
export interface Curve {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly samples: readonly number[] }[];
}

/** Lines of one plot. */
export interface Curves {
  readonly x: string;
  readonly y: string;
  readonly lines: readonly Curve[];
}

export interface Measurement {
  readonly figures: readonly Figure[];
  readonly curves?: Curves | undefined;
}

/** One row of the table. */
export interface Row {
  /** Name of its result file and of its plot. */
  readonly id: string;
  readonly title: string;
  readonly baseline: string;
  measure(bench: Bench): Promise<Measurement>;
}

export function atLeast(value: number): Target {
  return { bound: 'at least', value };
}

export function atMost(value: number): Target {
  return { bound: 'at most', value };
}

/** `statistic` of the samples is what the target is for: the median, unless told otherwise. */
export function figure(
  name: string,
  unit: string,
  samples: readonly number[],
  target?: Target,
  summary = summarise(samples),
): Figure {
  const { median } = summary;
  const met = target && (target.bound === 'at least' ? median >= target.value : median <= target.value);
  return { name, unit, summary, target, met, samples };
}

/** With where its median surely is. */
export function surely(of: Figure): Figure {
  return { ...of, within: medianWithin(of.samples) };
}

/** The quantities of rounds, and their ratio, with where it surely is. */
export function compared(name: string, unit: string, rounds: readonly Round[], target?: Target): Figure[] {
  const of = ratios(rounds);
  return [
    figure(
      name,
      unit,
      rounds.map(({ value }) => value),
    ),
    figure(
      `${name}: baseline`,
      unit,
      rounds.map(({ baseline }) => baseline),
    ),
    surely(figure(`${name}: ratio`, '', of, target)),
  ];
}
