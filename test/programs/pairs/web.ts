import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PYTHON } from '../../lab/program.ts';
import { type Invocation, type Pair, type Place, type Server, TEXT, wrote } from '../pair.ts';

/** HTTP clients, and the server that they have in common. */

export const PROTECTED = 24;

const HTTP: Server = {
  name: 'lighttpd',
  prepare({ directory, address, family, port }) {
    mkdirSync(join(directory, 'pages'));
    writeFileSync(join(directory, 'pages/text'), TEXT);
    const config = [
      `server.document-root = "${directory}/pages"`,
      `server.bind = "${family === 'ipv6' ? `[${address}]` : address}"`,
      `server.port = ${port}`,
      'mimetype.assign = ( "" => "text/plain" )',
    ];
    writeFileSync(join(directory, 'lighttpd.conf'), `${config.join('\n')}\n`);
  },
  invocation: ({ directory }) => ({ command: ['lighttpd', '-D', '-f', `${directory}/lighttpd.conf`] }),
};

export const urlOf = ({ host, port }: Place) => `http://${host}:${port}/text`;

type HttpClient = Pick<Pair, 'name' | 'refusal' | 'connections'> & {
  readonly command: (url: string, place: Place) => readonly string[];
  readonly times?: number;
};

const URLLIB =
  'import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())';

const CLIENTS: readonly HttpClient[] = [
  {
    name: 'curl, HTTP',
    command: (url) => ['curl', '-sS', '-m', '10', url],
    // In integrity mode connect() says yes, and the first write or read what it would have said.
    refusal: /\(7\) Failed to connect|\(5[56]\) .*Connection refused/,
  },
  {
    name: 'wget',
    command: (url) => ['wget', '-t', '1', '-T', '10', '-O', '-', url],
  },
  { name: 'python3, urllib', command: (url) => [PYTHON, '-c', URLLIB, url] },
];

export const WEB: readonly Pair[] = CLIENTS.map(({ command, times = 1, ...rest }) => ({
  ...rest,
  server: HTTP,
  client: (place): Invocation => ({ command: command(urlOf(place), place) }),
  prove: wrote(TEXT, times),
  integrity: PROTECTED,
}));
