import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Family, Host, Lab } from './netns.ts';
import { type Knock, type Program, start, untilListening } from './program.ts';

export interface WebServer {
  readonly program: Program;
  readonly port: number;
}

export const PAGE = 'This page is only for those who know.\n';

/** Where a server listens so that a client of the family reaches it; IPv4-mapped is IPv4 on a dual-stack socket. */
function bindAddress(host: Host, family: Family): string {
  if (family === 'mapped') return '[::]';
  return family === 'ipv6' ? `[${host.addresses.ipv6}]` : host.addresses.ipv4;
}

/** A URL of the lab's server. */
export function urlOf(host: Host, family: Family, port: number, path = '/'): string {
  const address = host.addresses[family];
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}${path}`;
}

/** Writes a configuration for Debian's lighttpd and a page into the lab's directory; returns the configuration's path. */
export function writeLighttpdConfig(lab: Lab, family: Family, port: number): string {
  const root = join(lab.directory, 'pages');
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, 'index.html'), PAGE);
  const config = join(lab.directory, `lighttpd-${port}.conf`);
  writeFileSync(
    config,
    [
      `server.document-root = "${root}"`,
      `server.bind = "${bindAddress(lab.server, family)}"`,
      `server.port = ${port}`,
      ...(family === 'mapped' ? ['server.v4mapped = "enable"'] : []),
      'index-file.names = ( "index.html" )',
      'mimetype.assign = ( ".html" => "text/plain" )',
      '',
    ].join('\n'),
  );
  return config;
}

/** Starts lighttpd in the lab's server namespace and waits until it listens. */
export async function startLighttpd(
  lab: Lab,
  options: { family: Family; port: number; knock?: Knock | undefined },
): Promise<WebServer> {
  const config = writeLighttpdConfig(lab, options.family, options.port);
  const program = start(lab.server, ['lighttpd', '-D', '-f', config], { knock: options.knock });
  await untilListening(program, options.port);
  return { program, port: options.port };
}
