import type { Pair } from './pair.ts';
import { APACHE } from './pairs/apache.ts';
import { ASYNCIO } from './pairs/asyncio.ts';
import { DATABASES } from './pairs/databases.ts';
import { GIT_PAIRS } from './pairs/git.ts';
import { HAPROXY } from './pairs/haproxy.ts';
import { JAVA } from './pairs/java.ts';
import { NETCATS } from './pairs/netcat.ts';
import { NGINX } from './pairs/nginx.ts';
import { NODES } from './pairs/node.ts';
import { SSH } from './pairs/ssh.ts';
import { WEB } from './pairs/web.ts';

/** Every pair, in the order of the table in the docs. */
export const PAIRS: readonly Pair[] = [
  ...WEB,
  ...[NGINX, APACHE, HAPROXY],
  ...[...ASYNCIO, ...NODES, ...JAVA, ...GIT_PAIRS, ...SSH, ...DATABASES, ...NETCATS],
];
