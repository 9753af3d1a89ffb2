import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { PYTHON } from '../../lab/program.ts';
import { type Pair, TEXT, wrote } from '../pair.ts';
import { PROTECTED } from './web.ts';

/** Python's asyncio streams, at both ends. */

const PEER = fileURLToPath(new URL('asyncio_peer.py', import.meta.url));
const CONNECTIONS = 8;
const ECHOED = `${createHash('sha256').update(TEXT).digest('hex')}\n`;

export const ASYNCIO: readonly Pair[] = [
  {
    name: `python3, asyncio: ${CONNECTIONS} at once`,
    server: {
      name: 'python3, asyncio',
      invocation: ({ address, port }) => ({ command: [PYTHON, PEER, 'serve', address, String(port)] }),
    },
    client: ({ address, port }) => ({
      command: [PYTHON, PEER, 'talk', address, String(port), String(CONNECTIONS)],
      input: TEXT,
    }),
    connections: CONNECTIONS,
    prove: wrote(ECHOED, CONNECTIONS),
    integrity: PROTECTED,
  },
];
