import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Pair, type Place, type Server, saying, TEXT, wrote } from '../pair.ts';
import { PROTECTED } from './web.ts';

/** Java, whose sockets are dual-stack ones that many threads share. */

const SOURCE = fileURLToPath(new URL('Peer.java', import.meta.url));
const CONNECTIONS = 8;
const ECHOED = `${createHash('sha256').update(TEXT).digest('hex')}\n`;

/** Of all servers of the lab. */
const classes = ({ directory }: Place) => join(dirname(directory), 'classes');

const java = (place: Place, what: string, ...more: string[]) => ({
  command: [
    ...['java', '-XX:TieredStopAtLevel=1', '-cp', classes(place)],
    ...['Peer', what, place.address, String(place.port), ...more],
  ],
});

const SERVER: Server = {
  name: 'java, HttpServer',
  prepare(place) {
    // Debian's runtime has the compiler in it, though no javac.
    const compiler = ['-m', 'jdk.compiler/com.sun.tools.javac.Main'];
    if (!existsSync(classes(place))) execFileSync('java', [...compiler, '-d', classes(place), SOURCE]);
  },
  invocation: (place) => java(place, 'serve'),
};

/** HttpClient names no reason at a connect(); in integrity mode HttpURLConnection names none at a write. */
const REFUSED = /ConnectException|Connection refused|Error writing to server/;

function client(what: string, name: string): Pair {
  return {
    name,
    server: SERVER,
    client: (place) => ({ ...java(place, what, String(CONNECTIONS)), input: TEXT }),
    connections: CONNECTIONS,
    refused: saying(REFUSED),
    prove: wrote(ECHOED, CONNECTIONS),
    integrity: PROTECTED,
  };
}

export const JAVA: readonly Pair[] = [
  client('threads', `java: ${CONNECTIONS} threads, blocking sockets`),
  client('async', `java: ${CONNECTIONS} at once by HttpClient`),
];
