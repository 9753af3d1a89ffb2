import type { Pair } from './pair.ts';
import { ASYNCIO } from './pairs/asyncio.ts';
import { GIT_PAIRS } from './pairs/git.ts';
import { JAVA } from './pairs/java.ts';
import { NETCATS } from './pairs/netcat.ts';
import { NODES } from './pairs/node.ts';
import { WEB } from './pairs/web.ts';

/** Every pair, in the order of the table in the docs. */
export const PAIRS: readonly Pair[] = [...WEB, ...ASYNCIO, ...NODES, ...JAVA, ...GIT_PAIRS, ...NETCATS];
