import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { untilListening } from '../../lab/program.ts';
import { type Pair, type Place, type Server, saying, wrote } from '../pair.ts';
import { urlOf } from './lighttpd.ts';
import { configureNginx } from './nginx.ts';
import { PROTECTED } from './web.ts';

/** haproxy, hidden, and what it knocks at behind it: an nginx that its master process runs. */

const behind = (place: Place): Place => ({ ...place, port: place.port + 1000 });

const SERVER: Server = {
  name: 'haproxy to nginx, both hidden',
  prepare(place) {
    const { directory, host, port } = place;
    const backend = behind(place);
    configureNginx(place, backend.port, { more: ['daemon off;'] });
    const config = [
      ...['global', 'nbthread 2', 'user www-data', 'group www-data', `pidfile ${directory}/haproxy.pid`],
      ...['defaults', 'mode http', 'timeout connect 5s', 'timeout client 15s', 'timeout server 15s'],
      ...['frontend front', `bind ${host}:${port}`, 'default_backend back'],
      ...['backend back', `server one ${backend.host}:${backend.port}`],
      ...['program nginx', `command /usr/sbin/nginx -c ${directory}/nginx.conf`],
      'no option start-on-reload',
    ];
    writeFileSync(join(directory, 'haproxy.cfg'), `${config.join('\n')}\n`);
  },
  invocation: ({ directory }) => ({ command: ['/usr/sbin/haproxy', '-W', '-f', `${directory}/haproxy.cfg`] }),
  ready: (program, place) => untilListening(program, behind(place).port),
  behind,
};

export const HAPROXY: Pair = {
  name: 'curl',
  server: SERVER,
  client: (place) => ({ command: ['curl', '-sS', '-m', '15', urlOf(place)] }),
  refused: saying(/\(7\) Failed to connect|Connection refused/),
  prove: wrote(),
  integrity: PROTECTED,
};
