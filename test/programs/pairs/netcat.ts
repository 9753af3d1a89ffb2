import { expect } from 'vitest';
import { until } from '../../lab/program.ts';
import { expectData, type Pair, type Server, saying, TEXT, wrote } from '../pair.ts';
import { PROTECTED } from './web.ts';

/** Programs that copy between a connection and their standard streams. */

const SOCAT: Server = {
  name: 'socat',
  invocation: ({ family, host, port }) => ({
    command: [
      'socat',
      `TCP${family === 'ipv6' ? 6 : 4}-LISTEN:${port},bind=${host},reuseaddr,fork`,
      'EXEC:cat,nofork',
    ],
  }),
};

/** Short, and written at once: both netcats end when the client has, whatever of their input is left by then. */
const ANSWER = 'An answer that crosses the text.\n';

/** Serves once. (With -e, it drops what is on its way back when the client ends its half.) */
const NCAT: Server = {
  name: 'ncat',
  invocation: ({ address, port }) => ({
    command: ['ncat', '-l', address, String(port)],
    input: ANSWER,
  }),
};

/** Serves once. */
const NETCAT: Server = {
  name: 'OpenBSD nc',
  invocation: ({ address, port }) => ({
    command: ['nc.openbsd', '-l', '-N', address, String(port)],
    input: ANSWER,
  }),
};

const bothWays: Pair['prove'] = async ({ status, stdout }, _, server) => {
  expect(status).toBe(0);
  expectData(stdout, ANSWER);
  await until('the end of the server', () => !server.isRunning());
  expectData(server.stdout());
};

export const NETCATS: readonly Pair[] = [
  {
    name: 'socat',
    server: SOCAT,
    client: ({ host, port }) => ({ command: ['socat', '-t', '10', '-', `TCP:${host}:${port}`], input: TEXT }),
    prove: wrote(),
    integrity: PROTECTED,
  },
  {
    name: 'ncat',
    server: NCAT,
    client: ({ address, port }) => ({ command: ['ncat', address, String(port)], input: TEXT }),
    prove: bothWays,
    integrity: PROTECTED,
  },
  {
    name: 'OpenBSD nc',
    server: NETCAT,
    client: ({ address, port }) => ({
      command: ['nc.openbsd', '-v', '-N', address, String(port)],
      input: TEXT,
    }),
    prove: bothWays,
    refused(outcome, mode) {
      if (mode === 'auth') return saying(/refused/)(outcome);
      // A write that fails ends it in silence: without the library a connection that is reset at once does the same.
      expect(outcome.stdout).toBe('');
    },
    integrity: PROTECTED,
  },
];
