import { chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ORDINARY_USER } from '../../cli/ordinaryUser.ts';
import { inside } from '../../lab/netns.ts';
import { type Program, untilSays } from '../../lab/program.ts';
import { type Pair, type Server, TEXT, wrote } from '../pair.ts';
import { makeCertificate } from './lighttpd.ts';
import { PROTECTED } from './web.ts';

/** Redis and PostgreSQL. */

const PASSWORD = 'a-password';

const REDIS: Server = {
  name: 'redis-server',
  invocation: ({ address, port, directory }) => ({
    command: [
      ...['redis-server', '--bind', address, '--port', String(port), '--requirepass', PASSWORD],
      ...['--save', '', '--appendonly', 'no', '--dir', directory],
    ],
  }),
};

const REDIS_SCRIPT = `set -e
redis-cli -h "$1" -p "$2" -x set text >/dev/null
redis-cli -h "$1" -p "$2" --raw get text`;

const REDIS_PAIR: Pair = {
  name: 'redis-cli',
  server: REDIS,
  // Its first words are the password's: AUTH.
  client: ({ address, port }) => ({
    command: ['sh', '-e', '-c', REDIS_SCRIPT, 'sh', address, String(port)],
    env: { REDISCLI_AUTH: PASSWORD },
    input: TEXT,
  }),
  connections: 2,
  prove: wrote(`${TEXT}\n`),
  integrity: PROTECTED,
};

/** Of ORDINARY_USER. */
const NOBODY = 65534;

const VERSIONS = '/usr/lib/postgresql';

/** A program of PostgreSQL's newest version, which refuses to run as root. */
function asNobody(program: string, ...more: readonly string[]): string[] {
  const [newest] = readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a));
  return [...ORDINARY_USER, join(VERSIONS, newest ?? '', 'bin', program), ...more];
}

const POSTGRES: Server = {
  name: 'PostgreSQL',
  prepare(place) {
    // Made once and copied: initdb takes a while.
    const pristine = join(dirname(place.directory), 'postgresql');
    if (!existsSync(pristine)) {
      mkdirSync(pristine);
      chownSync(pristine, NOBODY, NOBODY);
      inside(place.server, asNobody('initdb', '-D', pristine, '-U', 'lab', '--no-sync', '--locale', 'C'));
    }
    inside(place.server, ['cp', '-a', pristine, join(place.directory, 'data')]);
    makeCertificate(place);
    for (const file of ['cert.pem', 'key.pem']) chownSync(join(place.directory, file), NOBODY, NOBODY);
    writeFileSync(join(place.directory, 'hba.conf'), 'host all all all trust\n');
  },
  invocation: (place) => {
    const settings = {
      listen_addresses: place.address,
      port: place.port,
      unix_socket_directories: '',
      hba_file: join(place.directory, 'hba.conf'),
      fsync: 'off',
      ssl: 'on',
      ssl_cert_file: join(place.directory, 'cert.pem'),
      ssl_key_file: join(place.directory, 'key.pem'),
    };
    return {
      command: asNobody(
        'postgres',
        ...['-D', join(place.directory, 'data')],
        ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ),
    };
  },
  ready: (program: Program) => untilSays(program, 'ready to accept connections'),
  // Does not wait for clients.
  signal: 'SIGINT',
};

const SQL = `create temporary table lines (number serial, line text);
copy lines (line) from stdin;
${TEXT}\\.
copy (select line from lines order by number) to stdout;
`;

const psql = (sslmode: string): Pick<Pair, 'client' | 'prove'> => ({
  client: ({ address, port, directory }) => ({
    command: [
      ...['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1'],
      `host=${address} port=${port} user=lab dbname=postgres sslmode=${sslmode} sslrootcert=${directory}/cert.pem`,
    ],
    input: SQL,
  }),
  prove: wrote(),
});

export const DATABASES: readonly Pair[] = [
  REDIS_PAIR,
  { name: 'psql', server: POSTGRES, ...psql('disable'), integrity: PROTECTED },
  {
    name: 'psql, TLS',
    server: { ...POSTGRES, name: 'PostgreSQL, TLS' },
    ...psql('verify-full'),
    integrity: 8,
    remark: 'all that it says before the server answers: its wish for TLS, which is always the same',
  },
];
