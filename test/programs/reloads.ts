import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until, untilSays } from '../lab/program.ts';
import { type Place, type Server, TEXT, wrote } from './pair.ts';
import { APACHE } from './pairs/apache.ts';
import { HAPROXY } from './pairs/haproxy.ts';
import { makeCertificate } from './pairs/lighttpd.ts';
import { configureNginx, NGINX, NGINX_OPTIONS } from './pairs/nginx.ts';
import { childrenOf, pidIn, type Reload, replaceChildren } from './reload.ts';

/** Every reload, in the order of the table in the docs. */

/** nginx's master, once it has its workers: it forgets what a signal before that asked for until there is another. */
async function masterOf(place: Place, other?: number): Promise<number> {
  const master = await pidIn(place, 'nginx.pid', other);
  await until('its workers', () => childrenOf(master).length === NGINX_OPTIONS.workers);
  return master;
}

const nginxReload: Reload = {
  name: 'SIGHUP, to more workers, one, and as many as before',
  pair: NGINX,
  async act({ place }) {
    const usual = NGINX_OPTIONS.workers ?? 1;
    const master = await masterOf(place);
    for (const workers of [usual + 2, 1, usual]) {
      configureNginx(place, place.port, { ...NGINX_OPTIONS, workers });
      await replaceChildren(master, 'SIGHUP');
    }
  },
};

/** The new binary is started with an environment that the configuration lists, name by name. */
const KEPT = ['LD_PRELOAD', 'KNOCK_CONTROL', 'KNOCK_SECRET', 'KNOCK_INTLEN'];

const AS_DAEMON = `/usr/sbin/nginx -c "$1/nginx.conf"
trap 'kill $(cat "$1/nginx.pid"); exit' TERM
echo started
while sleep 0.1; do :; done`;

const DAEMON: Server = {
  name: `nginx as a daemon, with \`${KEPT.map((name) => `env ${name};`).join(' ')}\``,
  prepare(place) {
    makeCertificate(place);
    configureNginx(place, place.port, { ...NGINX_OPTIONS, more: KEPT.map((name) => `env ${name};`) });
  },
  // Only a daemon takes the signal, and only once what started it has ended.
  invocation: ({ directory }) => ({ command: ['sh', '-e', '-c', AS_DAEMON, 'sh', directory] }),
  ready: (program) => untilSays(program, 'started'),
};

const nginxUpgrade: Reload = {
  name: 'SIGUSR2, another nginx in its place',
  pair: { ...NGINX, server: DAEMON },
  async act({ place }) {
    const old = await masterOf(place);
    process.kill(old, 'SIGUSR2');
    await masterOf(place, old);
    process.kill(old, 'SIGQUIT');
    await until('the end of the old workers', () => childrenOf(old).length === 0);
  },
};

const apacheReload: Reload = {
  name: 'SIGUSR1 (apachectl graceful)',
  pair: APACHE,
  act: async ({ place }) => replaceChildren(await pidIn(place, 'apache.pid'), 'SIGUSR1'),
};

const haproxyReload: Reload = {
  name: 'SIGUSR2 to the master process',
  pair: HAPROXY,
  // The nginx behind it stays.
  act: ({ program }) => replaceChildren(program.pid, 'SIGUSR2', 1),
};

const ALONE: Server = {
  name: 'haproxy alone',
  prepare({ directory, host, port }) {
    writeFileSync(join(directory, 'text'), TEXT);
    const config = [
      // Its buffer has to hold all of an answer of its own.
      ...['global', `tune.bufsize ${2 * TEXT.length}`],
      ...['defaults', 'mode http', 'timeout connect 5s', 'timeout client 15s', 'timeout server 15s'],
      ...['frontend front', `bind ${host}:${port}`],
      `http-request return status 200 content-type text/plain file ${directory}/text`,
    ];
    writeFileSync(join(directory, 'haproxy.cfg'), `${config.join('\n')}\n`);
  },
  invocation: ({ directory }) => ({
    command: ['/usr/sbin/haproxy', '-db', '-f', `${directory}/haproxy.cfg`],
  }),
};

const haproxyTakeover: Reload = {
  name: '-sf, another haproxy in its place',
  pair: { ...HAPROXY, server: ALONE, prove: wrote() },
  async act({ program, place }, launch) {
    const { command } = ALONE.invocation(place);
    launch({ command: [...command, '-sf', String(program.pid)] });
    await until('the end of the old haproxy', () => !program.isRunning());
  },
};

export const RELOADS: readonly Reload[] = [
  nginxReload,
  nginxUpgrade,
  apacheReload,
  haproxyReload,
  haproxyTakeover,
];
