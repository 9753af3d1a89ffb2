import { chmodSync, existsSync, unlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createConnection, isIP } from 'node:net';
import { ConfigError } from '../config/error.ts';
import type { Log } from '../control/log.ts';
import { METRICS_TYPE, metricsText } from '../control/metrics.ts';
import type { Telling } from '../control/telling.ts';
import { parseAddress } from '../stealth/address.ts';

/** Where metrics are to be had: a Unix socket, or a port of this machine's own. */
export type MetricsPlace = { readonly path: string } | { readonly host: string; readonly port: number };

/** Root, and the group that the directory or the unit gives the socket. */
const MODE = 0o660;
/** Whoever reads metrics sends a line and a few headers. Milliseconds. */
const PATIENCE = 5000;
const MOST_CONNECTIONS = 32;

const RULE = 'unix:/PATH, 127.0.0.1:PORT or [::1]:PORT is wanted';

function isLoopback(host: string): boolean {
  const bytes = parseAddress(host);
  if (bytes === undefined) return false;
  return bytes.length === 4 ? bytes[0] === 127 : bytes.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

/** Reads the value of --metrics. Throws ConfigError that says why a place is none. */
export function parseMetricsPlace(text: string): MetricsPlace {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    if (!path.startsWith('/'))
      throw new ConfigError(`--metrics ${text}: the path must begin with a slash; ${RULE}`);
    return { path };
  }
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? '';
  const port = Number(digits);
  if (digits === undefined || port < 1 || port > 0xffff) throw new ConfigError(`--metrics ${text}: ${RULE}`);
  if (isIP(host) === 0 || !isLoopback(host))
    throw new ConfigError(
      `--metrics ${text}: ${host || 'no address'} is not a loopback address; metrics name the ports that are hidden, so nobody else may reach them: ${RULE}`,
    );
  return { host, port };
}

/** A socket file whose owner is gone is in the way. */
function clearStale(path: string): Promise<void> {
  if (!existsSync(path)) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const probe = createConnection(path);
    probe.once('connect', () => {
      probe.destroy();
      reject(new ConfigError(`--metrics unix:${path}: another process serves there`));
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNREFUSED')
        return reject(new ConfigError(`--metrics unix:${path}: ${error.message}`));
      unlinkSync(path);
      resolve();
    });
  });
}

/** Serves metrics until it is closed. Throws ConfigError where it can't. */
export async function serveMetrics(place: MetricsPlace, telling: Telling, log: Log): Promise<Server> {
  if ('path' in place) await clearStale(place.path);
  const server = createServer((request, response) => {
    // Not as a URL: of what a client sends not all is one.
    const [pathname] = (request.url ?? '/').split('?', 1);
    if (pathname !== '/metrics') return void response.writeHead(404).end('try /metrics\n');
    if (request.method !== 'GET' && request.method !== 'HEAD') return void response.writeHead(405).end();
    try {
      const text = metricsText(telling);
      response.writeHead(200, { 'Content-Type': METRICS_TYPE }).end(text);
    } catch (error) {
      log.error(`metrics: ${error instanceof Error ? error.message : error}`);
      response.writeHead(500).end();
    }
  });
  server.maxConnections = MOST_CONNECTIONS;
  server.requestTimeout = PATIENCE;
  server.headersTimeout = PATIENCE;
  const named = 'path' in place ? `unix:${place.path}` : `${place.host}:${place.port}`;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new ConfigError(`--metrics ${named}: ${error.message}`)));
    // The file is born without permissions for others.
    const mask = process.umask(0o177);
    server.listen('path' in place ? { path: place.path } : { host: place.host, port: place.port }, resolve);
    process.umask(mask);
  });
  if ('path' in place) chmodSync(place.path, MODE);
  return server;
}
