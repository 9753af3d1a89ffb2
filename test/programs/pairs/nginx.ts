import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { expectData, type Pair, type Place, type Server, saying, TEXT } from '../pair.ts';
import { makeCertificate, urlOf } from './lighttpd.ts';
import { PROTECTED } from './web.ts';

/** nginx, whose workers drop root's privileges and their environment. */

const WORKERS = 4;
const FILES = Array.from({ length: 12 }, (_, i) => `page-${i}`);

export interface NginxOptions {
  /** Of `listen`, behind address and port. */
  readonly listen?: string;
  readonly workers?: number;
  /** In the main part. */
  readonly more?: readonly string[];
}

/** Writes `nginx.conf` for a server on `port`, which serves TEXT as `text` and names its worker in a header. */
export function configureNginx({ directory, host }: Place, port: number, options: NginxOptions = {}): void {
  const { listen = '', workers = 1, more = [] } = options;
  mkdirSync(join(directory, 'pages'), { recursive: true });
  writeFileSync(join(directory, 'pages/text'), TEXT);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'scgi', 'uwsgi'];
  const config = [
    `user www-data; worker_processes ${workers}; pid ${directory}/nginx.pid; error_log stderr;`,
    ...more,
    'events { worker_connections 64; }',
    'http {',
    'access_log off;',
    ...temporary.map((name) => `${name}_temp_path ${directory}/${name};`),
    `server { listen ${host}:${port} ${listen};`,
    `root ${directory}/pages; default_type text/plain; add_header X-Worker $pid;`,
    ...(listen.includes('ssl')
      ? [`ssl_certificate ${directory}/cert.pem; ssl_certificate_key ${directory}/key.pem;`]
      : []),
    '} }',
  ];
  writeFileSync(join(directory, 'nginx.conf'), `${config.join('\n')}\n`);
}

/** The one that the table of reloads reconfigures, too. */
export const NGINX_OPTIONS: NginxOptions = {
  listen: 'reuseport ssl',
  workers: WORKERS,
  more: ['daemon off;'],
};

const SERVER: Server = {
  name: `nginx, ${WORKERS} workers, reuseport, TLS`,
  prepare(place) {
    makeCertificate(place);
    configureNginx(place, place.port, NGINX_OPTIONS);
  },
  invocation: ({ directory }) => ({ command: ['/usr/sbin/nginx', '-c', `${directory}/nginx.conf`] }),
};

export const CURL_MANY: Pick<Pair, 'client' | 'connections' | 'refused' | 'prove' | 'integrity'> = {
  client: (place) => ({
    cwd: place.directory,
    command: [
      ...['curl', '-sS', '-m', '15', '--cacert', `${place.directory}/cert.pem`],
      ...['--parallel', '--parallel-immediate', '-w', '%header{x-worker}\\n'],
      ...FILES.flatMap((file) => ['-o', file, urlOf(place, 'text', 'https')]),
    ],
  }),
  connections: FILES.length,
  refused: saying(/\(7\) Failed to connect|Connection refused/),
  prove({ status, stdout }, { directory }) {
    expect(status).toBe(0);
    for (const file of FILES) expectData(readFileSync(join(directory, file)));
    // The kernel spreads them by chance: over one alone once in 4^11.
    expect(new Set(stdout.trim().split('\n')).size).toBeGreaterThan(1);
  },
  integrity: PROTECTED,
};

export const NGINX: Pair = {
  name: `curl -Z, ${FILES.length} at once, HTTPS`,
  server: SERVER,
  ...CURL_MANY,
};
