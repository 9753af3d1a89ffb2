import type { Pair } from './pair.ts';
import { WEB } from './pairs/web.ts';

/** Every pair, in the order of the table in the docs. */
export const PAIRS: readonly Pair[] = [...WEB];
