import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Pair, type Server, saying, TEXT, wrote } from '../pair.ts';
import { makeCertificate, urlOf } from './lighttpd.ts';
import { PROTECTED } from './web.ts';

/** apache2, whose processes and threads share the listener; keep-alive is what its event MPM is for. */

const MODULES = '/usr/lib/apache2/modules';
const LOADED = {
  mpm_event: 'mpm_event',
  authz_core: 'authz_core',
  socache_shmcb: 'socache_shmcb',
  ssl: 'ssl',
};
const REQUESTS = 3;

const SERVER: Server = {
  name: 'apache2, event MPM, TLS',
  prepare(place) {
    const { directory, host, port } = place;
    makeCertificate(place);
    mkdirSync(join(directory, 'pages'));
    writeFileSync(join(directory, 'pages/text'), TEXT);
    const config = [
      ...Object.values(LOADED).map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
      ...[`ServerRoot ${directory}`, `DefaultRuntimeDir ${directory}`, `PidFile ${directory}/apache.pid`],
      ...['ServerName lab', 'User www-data', 'Group www-data', 'Mutex pthread'],
      ...['ErrorLog "|/bin/cat 1>&2"', 'LogLevel error'],
      ...['StartServers 2', 'ServerLimit 4', 'ThreadsPerChild 8', 'MaxRequestWorkers 32'],
      ...['MinSpareThreads 8', 'MaxSpareThreads 32', `Listen ${host}:${port}`, 'SSLEngine on'],
      ...[`SSLCertificateFile ${directory}/cert.pem`, `SSLCertificateKeyFile ${directory}/key.pem`],
      ...[`DocumentRoot ${directory}/pages`, `<Directory ${directory}/pages>`],
      ...['Require all granted', '</Directory>'],
    ];
    writeFileSync(join(directory, 'apache.conf'), `${config.join('\n')}\n`);
  },
  invocation: ({ directory }) => ({
    command: ['/usr/sbin/apache2', '-D', 'FOREGROUND', '-f', `${directory}/apache.conf`],
  }),
};

export const APACHE: Pair = {
  name: 'curl, HTTPS, keep-alive',
  server: SERVER,
  client: (place) => ({
    command: [
      ...['curl', '-sS', '-m', '15', '--cacert', `${place.directory}/cert.pem`],
      ...Array<string>(REQUESTS).fill(urlOf(place, 'text', 'https')),
    ],
  }),
  refused: saying(/\(7\) Failed to connect|Connection refused/),
  prove: wrote(TEXT, REQUESTS),
  integrity: PROTECTED,
};
