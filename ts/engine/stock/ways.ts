import { hasTcx } from '../../sys/tcx.ts';
import { clsact } from './clsact.ts';
import type { Way } from './filters.ts';
import { tcx } from './tcx.ts';

/** At least one. */
export type Ways = readonly [Way, ...Way[]];

/** Those that this kernel has. The first is the cheapest, and used; engines of older releases used the other. */
export function waysHere(): Ways {
  return hasTcx() ? [tcx, clsact] : [clsact];
}
