import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { PYTHON } from '../../lab/program.ts';
import { expectData, type Pair, saying, wrote } from '../pair.ts';
import { HTTP, HTTPS, urlOf } from './lighttpd.ts';

/** HTTP clients. */

/** Less than any request has. */
export const PROTECTED = 24;

const URLLIB = [
  'import sys, urllib.request',
  'sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())',
].join('\n');

const PARALLEL = Array.from({ length: 12 }, (_, i) => `page-${i}`);

const CURL = ['curl', '-sS', '-m', '15'];
/** In integrity mode connect() says yes, and the first write or read what it would have said. */
const CURL_REFUSED = saying(/\(7\) Failed to connect|Connection refused/);

export const WEB: readonly Pair[] = [
  {
    name: 'curl',
    server: HTTP,
    client: (place) => ({ command: [...CURL, urlOf(place)] }),
    refused: CURL_REFUSED,
    prove: wrote(),
    integrity: PROTECTED,
  },
  {
    name: 'curl, HTTPS',
    server: HTTPS,
    client: (place) => ({
      command: [...CURL, '--cacert', `${place.directory}/cert.pem`, urlOf(place, 'text', 'https')],
    }),
    refused: CURL_REFUSED,
    prove: wrote(),
    integrity: PROTECTED,
  },
  {
    name: `curl -Z, ${PARALLEL.length} at once`,
    server: HTTP,
    client: (place) => ({
      cwd: place.directory,
      command: [
        ...[...CURL, '--parallel', '--parallel-immediate', '--parallel-max', String(PARALLEL.length)],
        ...PARALLEL.flatMap((file) => ['-o', file, urlOf(place)]),
      ],
    }),
    connections: PARALLEL.length,
    refused: CURL_REFUSED,
    prove({ status }, { directory }) {
      expect(status).toBe(0);
      for (const file of PARALLEL) expectData(readFileSync(join(directory, file)));
    },
    integrity: PROTECTED,
  },
  {
    name: 'wget',
    server: HTTP,
    client: (place) => ({ command: ['wget', '-t', '1', '-T', '15', '-O', '-', urlOf(place)] }),
    prove: wrote(),
    integrity: PROTECTED,
  },
  {
    name: 'busybox wget',
    server: HTTP,
    client: (place) => ({ command: ['busybox', 'wget', '-O', '-', urlOf(place)] }),
    prove: wrote(),
    // It does not say why nothing came back for what it wrote.
    refused: saying(/refused|error getting response/i),
    integrity: PROTECTED,
  },
  {
    name: 'python3, urllib',
    server: HTTP,
    client: (place) => ({ command: [PYTHON, '-c', URLLIB, urlOf(place)] }),
    prove: wrote(),
    integrity: PROTECTED,
  },
];
