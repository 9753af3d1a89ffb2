import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseMetricsPlace, serveMetrics } from '../../ts/cli/metricsServer.ts';

describe('--metrics', () => {
  it.each([
    ['unix:/run/knockify-metrics/socket', { path: '/run/knockify-metrics/socket' }],
    ['127.0.0.1:9464', { host: '127.0.0.1', port: 9464 }],
    ['127.3.2.1:1', { host: '127.3.2.1', port: 1 }],
    ['[::1]:9464', { host: '::1', port: 9464 }],
  ])('%s is a place', (text, place) => {
    expect(parseMetricsPlace(text)).toEqual(place);
  });

  it.each([
    '0.0.0.0:9464',
    '192.0.2.1:9464',
    '[::]:9464',
    '[2001:db8::1]:9464',
    '[::ffff:127.0.0.1]:9464',
    ':9464',
  ])('%s would be reached by others', (text) => {
    expect(() => parseMetricsPlace(text)).toThrow(
      /is not a loopback address; metrics name the ports that are hidden/,
    );
  });

  it.each([
    '',
    '9464',
    '127.0.0.1',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    'localhost',
    'unix:relative',
    '/run/socket',
  ])('"%s" is none', (text) => {
    expect(() => parseMetricsPlace(text)).toThrow(/unix:\/PATH, 127.0.0.1:PORT or \[::1\]:PORT is wanted$/);
  });

  it('takes no name, which may mean anything', () => {
    expect(() => parseMetricsPlace('localhost:9464')).toThrow('localhost is not a loopback address');
  });
});

describe('whoever asks for metrics', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'knockify-metrics-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it.each(['//', 'http://:80/', '*', '/metrics%zz'])(
    '"%s" gets an answer, and the next, too',
    async (target) => {
      const path = join(directory, 'socket');
      const server = await serveMetrics({ path }, undefined as never, undefined as never);
      try {
        for (let time = 0; time < 2; time++) {
          const connection = createConnection(path);
          connection.end(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
          expect(await text(connection)).toMatch(/^HTTP\/1.1 404 /);
        }
      } finally {
        server.close();
      }
    },
  );
});
