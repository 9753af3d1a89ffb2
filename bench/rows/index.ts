import type { Row } from '../row.ts';
import { accepted } from './accepted.ts';
import { flood } from './flood.ts';
import { interfaces } from './interface.ts';
import { knocking } from './knocking.ts';
import { latency } from './latency.ts';
import { memory } from './memory.ts';
import { named } from './named.ts';
import { rate } from './rate.ts';
import { scale } from './scale.ts';
import { startup } from './startup.ts';
import { throughput } from './throughput.ts';
import { untracked } from './untracked.ts';
import { verdict } from './verdict.ts';

/** In the order of the table. */
export const rows: readonly Row[] = [
  ...[flood, verdict, named, accepted, latency, rate, throughput, interfaces],
  ...[untracked, knocking, startup, memory, scale],
];
