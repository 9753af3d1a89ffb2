import type { Pair } from './pair.ts';
import { GIT_PAIRS } from './pairs/git.ts';
import { NETCATS } from './pairs/netcat.ts';
import { WEB } from './pairs/web.ts';

/** Every pair, in the order of the table in the docs. */
export const PAIRS: readonly Pair[] = [...WEB, ...GIT_PAIRS, ...NETCATS];
