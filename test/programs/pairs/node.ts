import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { type Pair, type Server, saying, TEXT } from '../pair.ts';
import { PROTECTED } from './web.ts';

/** Node's http, net and fetch, at both ends, in several versions of Node. */

const PEER = fileURLToPath(new URL('node_peer.mjs', import.meta.url));
const VERSIONS = [20, 22, 24] as const;

/** The binary that test/programs/nodes/package.json brings. */
const binary = (version: number) =>
  fileURLToPath(new URL(`../nodes/node_modules/node-${version}-${process.arch}/bin/node`, import.meta.url));

const sha256 = createHash('sha256').update(TEXT).digest('hex');

export const NODES: readonly Pair[] = VERSIONS.map((version) => {
  const node = (what: string, { address, port }: { address: string; port: number }) => ({
    command: [binary(version), PEER, what, address, String(port)],
  });
  const server: Server = { name: `node ${version}`, invocation: (place) => node('serve', place) };
  return {
    name: `node ${version}: http, net, fetch`,
    server,
    client: (place) => ({ ...node('talk', place), input: TEXT }),
    connections: 4,
    refused: saying(/http: ECONNREFUSED\nnet: ECONNREFUSED\nfetch: ECONNREFUSED\n/),
    prove({ status, stdout, stderr }) {
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(
        stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
      ).toEqual([
        { way: 'http', got: [sha256, sha256, sha256] },
        { way: 'net', got: [sha256] },
        { way: 'fetch', got: [sha256] },
      ]);
    },
    integrity: PROTECTED,
  };
});
