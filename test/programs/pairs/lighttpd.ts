import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Place, type Server, TEXT } from '../pair.ts';

/** Debian's lighttpd, which serves the directory `pages`, with TEXT in it as `text`. */

export function urlOf({ host, port }: Place, path = 'text', scheme = 'http'): string {
  return `${scheme}://${host}:${port}/${path}`;
}

/** Writes what lighttpd needs; `more` are further lines of its configuration. */
function configure(place: Place, more: readonly string[] = []): void {
  const { directory, host, port } = place;
  mkdirSync(join(directory, 'pages'));
  writeFileSync(join(directory, 'pages/text'), TEXT);
  const config = [
    `server.document-root = "${directory}/pages"`,
    `server.bind = "${host}"`,
    `server.port = ${port}`,
    'mimetype.assign = ( "" => "text/plain" )',
    ...more,
  ];
  writeFileSync(join(directory, 'lighttpd.conf'), `${config.join('\n')}\n`);
}

const invocation: Server['invocation'] = ({ directory }) => ({
  command: ['lighttpd', '-D', '-f', `${directory}/lighttpd.conf`],
});

export const HTTP: Server = { name: 'lighttpd', prepare: (place) => configure(place), invocation };

/** Writes `key.pem` and the self-signed `cert.pem` for the server's address. */
export function makeCertificate({ directory, address }: Place): void {
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-nodes', '-days', '2', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
      ...['-subj', '/CN=lab', '-addext', `subjectAltName=IP:${address}`],
      ...['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'cert.pem')],
    ],
    { stdio: 'pipe' },
  );
}

export const HTTPS: Server = {
  name: 'lighttpd, TLS',
  prepare(place) {
    makeCertificate(place);
    configure(place, [
      'server.modules += ( "mod_openssl" )',
      'ssl.engine = "enable"',
      `ssl.pemfile = "${place.directory}/cert.pem"`,
      `ssl.privkey = "${place.directory}/key.pem"`,
    ]);
  },
  invocation,
};

/** With git's CGI program below `/git/`, and the bare repository `shared.git` that everybody may push to. */
export const GIT: Server = {
  name: 'git http-backend in lighttpd',
  prepare(place) {
    const git = (...command: string[]) =>
      execFileSync('git', ['-c', 'init.defaultBranch=main', ...command], {
        cwd: place.directory,
        stdio: 'pipe',
        env: { PATH: process.env.PATH, HOME: '/nonexistent' },
      });
    git('init', '-q', '--bare', 'shared.git');
    git('-C', 'shared.git', 'config', 'http.receivepack', 'true');
    configure(place, [
      'server.modules += ( "mod_alias", "mod_cgi", "mod_setenv" )',
      'alias.url = ( "/git" => "/usr/lib/git-core/git-http-backend" )',
      '$HTTP["url"] =~ "^/git/" {',
      '  cgi.assign = ( "" => "" )',
      `  setenv.set-environment = ( "GIT_PROJECT_ROOT" => "${place.directory}", "GIT_HTTP_EXPORT_ALL" => "" )`,
      '}',
    ]);
  },
  invocation,
};
