import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PAGE, startLighttpd, urlOf } from '../lab/lighttpd.ts';
import type { Host } from '../lab/netns.ts';
import {
  type Knock,
  type Program,
  PYTHON,
  REPOSITORY,
  run,
  start,
  stop,
  untilListening,
} from '../lab/program.ts';
import { openStealthLab, type StealthLab } from '../lab/stealthlab.ts';

/** Programs that switch stealth on themselves (thesis section 6.2), on a stock kernel. */

const SECRET = 'This is my magic ID.';
const WORDS = 'GET / HTTP/1.0\r\n\r\n';
const FAMILIES = ['ipv4', 'ipv6'] as const;

let stealth: StealthLab;
let directory: string;

/** No secret in the environment: what counts is what the program sets. */
function library(host: Host): { env: Record<string, string> } {
  const { control } = stealth.knock(host);
  return { env: { LD_PRELOAD: join(REPOSITORY, 'build/Release/libknockify.so'), KNOCK_CONTROL: control } };
}

function compile(source: string, name: string, ...options: string[]): string {
  const binary = join(directory, name);
  execFileSync('gcc', ['-std=gnu11', '-Wall', '-Wextra', '-Werror', source, '-o', binary, ...options]);
  return binary;
}

function words(...options: string[]): string[] {
  const output = execFileSync(
    'pkg-config',
    [`--define-variable=libdir=${REPOSITORY}build/Release`, ...options],
    {
      env: { ...process.env, PKG_CONFIG_PATH: join(REPOSITORY, 'shim') },
      encoding: 'utf8',
    },
  );
  return output.trim().split(/\s+/);
}

let server: string;
let client: string;
let linkedClient: string;
let linkedServer: string;
beforeAll(async () => {
  stealth = await openStealthLab();
  directory = stealth.lab.directory;
  const source = (name: string) => join(REPOSITORY, 'examples/knock', name);
  const linking = [...words('--libs', 'libknockify'), `-Wl,-rpath,${REPOSITORY}build/Release`];
  server = compile(source('server.c'), 'server');
  client = compile(source('client.c'), 'client');
  linkedServer = compile(source('server.c'), 'linked-server', ...linking);
  linkedClient = compile(source('client.c'), 'linked-client', ...linking);
});
afterAll(() => stealth?.close());

describe.each(FAMILIES)('the C examples over %s', (family) => {
  const kinds = [
    { kind: 'authentication', port: '6001', length: [], protect: [] },
    { kind: 'integrity', port: '6002', length: [String(WORDS.length)], protect: ['protect'] },
  ] as const;

  describe.each(kinds)('$kind', ({ port, length, protect }) => {
    const serve = async (binary: string): Promise<Program> => {
      const address = stealth.server.addresses[family];
      const program = start(
        stealth.server,
        [binary, address, port, SECRET, ...length],
        library(stealth.server),
      );
      await untilListening(program, Number(port));
      return program;
    };
    const ask = (binary: string, secret = SECRET) =>
      run(
        stealth.client,
        [binary, stealth.server.addresses[family], port, secret, WORDS, ...protect],
        library(stealth.client),
      );

    test('preloaded, to each other; another secret is refused', async () => {
      const program = await serve(server);
      expect(await ask(client)).toMatchObject({ status: 0, stdout: WORDS, stderr: '' });
      expect(await ask(client, 'another')).toMatchObject({
        status: 1,
        stderr: 'connect: Connection refused\n',
      });
      await stop(program);
    });

    test('linked instead of preloaded, to each other', async () => {
      const env = (host: Host) => ({ env: { KNOCK_CONTROL: stealth.knock(host).control } });
      const address = stealth.server.addresses[family];
      const program = start(
        stealth.server,
        [linkedServer, address, port, SECRET, ...length],
        env(stealth.server),
      );
      await untilListening(program, Number(port));
      const asked = await run(
        stealth.client,
        [linkedClient, address, port, SECRET, WORDS, ...protect],
        env(stealth.client),
      );
      expect(asked).toMatchObject({ status: 0, stdout: WORDS, stderr: '' });
      await stop(program);
    });

    test('the client to a preloaded server that knows nothing of Knock', async () => {
      const knock: Knock = {
        ...stealth.knock(stealth.server),
        secret: SECRET,
        intlen: Number(length[0] ?? 0),
      };
      const web = await startLighttpd(stealth.lab, { family, port: Number(port), knock });
      const answer = await ask(client);
      expect(answer).toMatchObject({ status: 0, stderr: '' });
      expect(answer.stdout).toContain(PAGE);
      await stop(web.program);
    });

    test('a preloaded curl to the server', async () => {
      const program = await serve(server);
      const knock: Knock = {
        ...stealth.knock(stealth.client),
        secret: SECRET,
        intlen: Number(length[0] ?? 0),
      };
      const url = urlOf(stealth.server, family, Number(port));
      const answer = await run(stealth.client, ['curl', '-sS', '--http0.9', '-m', '5', url], { knock });
      expect(answer.status).toBe(0);
      expect(answer.stdout).toMatch(/^GET \/ HTTP\/1\.1\r\n/);
      await stop(program);
    });
  });
});

const SCENARIOS = [
  {
    scenario: 'errors',
    sees: {
      'integrity first': 'EOPNOTSUPP',
      'length first': 'EOPNOTSUPP',
      'long secret': 'EINVAL',
      'empty secret': 'EINVAL',
      'zero secret': 'EINVAL',
      'short secret': 'ok',
      'no payload': 'EINVAL',
      'long payload': 'EINVAL',
      'longest payload': 'ok',
      'length 0': 'EINVAL',
      'length 65536': 'EINVAL',
      'length 2000': 'EINVAL',
      'length 1024': 'ok',
      'short length': 'EINVAL',
    },
    says: [
      /TCP_STEALTH_INTEGRITY: 2000 bytes/,
      /TCP_STEALTH_INTEGRITY_LEN: 2000 bytes/,
      /TCP_STEALTH: the secret is empty/,
    ],
  },
  {
    scenario: 'two-secrets',
    sees: {
      'one to one': 'ok',
      'two to one': 'ECONNREFUSED',
      'two to two': 'ok',
      'one to two': 'ECONNREFUSED',
      'two to two without integrity': 'ECONNREFUSED',
      'settings to one': 'EPROTONOSUPPORT',
    },
    says: [/there is no secret/],
  },
  { scenario: 'changed-between-connects', sees: { wrong: 'ECONNREFUSED', right: 'ok' }, says: [] },
  {
    scenario: 'changed-while-listening',
    sees: {
      before: 'ok',
      old: 'ECONNREFUSED',
      new: 'ok',
      'new, unprotected': 'ECONNREFUSED',
      'new, protected': 'ok',
      cleared: 'ok',
    },
    says: [],
  },
  {
    scenario: 'other-words',
    sees: { connect: 'ok', send: 'ok', accept: 'timeout', answer: 'ECONNRESET' },
    says: [/TCP_STEALTH_INTEGRITY announced: the peer will reset/],
  },
  { scenario: 'announced-words', sees: { connect: 'ok', got: 'four and more' }, says: [] },
];

describe.each(FAMILIES)('the socket options over %s', (family) => {
  const scenario = (name: string, env: Record<string, string>) =>
    run(
      stealth.server,
      [PYTHON, join(REPOSITORY, 'test/programs/knock_options.py'), name, stealth.server.addresses[family]],
      { env: { ...library(stealth.server).env, ...env } },
    );

  test.each(SCENARIOS)('$scenario', async ({ scenario: name, sees, says }) => {
    const outcome = await scenario(name, {});
    expect(
      outcome.stderr.split('\n').filter((line) => line !== '' && !says.some((said) => said.test(line))),
    ).toEqual([]);
    for (const said of says) expect(outcome.stderr).toMatch(said);
    expect(JSON.parse(outcome.stdout)).toEqual(sees);
  });

  test('27 and 28 keep their mainline meaning on other sockets', async () => {
    const outcome = await scenario('mainline', { KNOCK_SECRET: 'x', KNOCK_TARGETS: ':1' });
    expect(outcome).toMatchObject({ stderr: '', status: 0 });
    expect(JSON.parse(outcome.stdout)).toEqual({
      set: 'ok',
      get: 1,
      version: family === 'ipv4' ? 4 : 6,
      congestion: true,
    });
  });
});
