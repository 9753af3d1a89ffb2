import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from './capture.ts';
import { KNOCKIFY } from './control.ts';
import { PAGE, startLighttpd, urlOf, writeLighttpdConfig } from './lighttpd.ts';
import { setSysctl } from './netns.ts';
import { scan } from './nmap.ts';
import { type Packet, shape, syns } from './packets.ts';
import { PYTHON, REPOSITORY, run, start, stop, untilListening } from './program.ts';
import { KINDS, openStealthLab, PROTECTED_LENGTH, portOf, SECRET, type StealthLab } from './stealthlab.ts';
import { firstSegmentAfter } from './syn.ts';
import { expectTokens } from './tokens.ts';

/** Kernel settings and habits of programs that are not everybody's. */

const STEPS = `${REPOSITORY}/test/programs/steps.py`;

let stealth: StealthLab;

beforeAll(async () => {
  stealth = await openStealthLab();
  const { lab, server } = stealth;
  await Promise.all(
    KINDS.map(({ family, mode, port }) =>
      startLighttpd(lab, { family, port, knock: stealth.knock(server, mode) }),
    ),
  );
});
afterAll(() => stealth?.close());

/** curl under the library gets the page, with as many SYNs as it takes, all of them with their tokens. */
async function expectPage(
  kind: (typeof KINDS)[number],
  curlOptions: readonly string[] = [],
): Promise<Packet[]> {
  const { family, mode, port } = kind;
  const { result, packets } = await capturing(stealth.lab, () =>
    run(stealth.client, ['curl', '-sS', '-m', '8', ...curlOptions, urlOf(stealth.server, family, port)], {
      knock: stealth.knock(stealth.client, mode),
    }),
  );
  expect(result).toMatchObject({ status: 0, stdout: PAGE, stderr: '' });
  expectTokens(packets, mode);
  return packets;
}

describe('SYN cookies always', () => {
  beforeAll(() => setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 2));
  afterAll(() => setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 1));

  test.each(KINDS)('$family, $mode: the page arrives', async (kind) => {
    await expectPage(kind);
  });

  test.each(KINDS)('$family, $mode: nmap sees no difference', async ({ family, port }) => {
    for (const type of ['-sS', '-sA', '-sF']) {
      const address = stealth.server.addresses[family];
      const [guarded, closed] = await scan(stealth.client, type, address, [port, port + 1]);
      expect({ ...guarded, port: 0 }).toEqual({ ...closed, port: 0 });
    }
  });
});

describe('the client bit of tcp_fastopen off', () => {
  beforeAll(() => setSysctl(stealth.client, 'net.ipv4.tcp_fastopen', 0));
  afterAll(() => setSysctl(stealth.client, 'net.ipv4.tcp_fastopen', 1));

  test.each(KINDS)('$family, $mode: the page arrives, or nothing is sent', async ({ family, mode, port }) => {
    const { result, packets } = await capturing(stealth.lab, () =>
      run(stealth.client, ['curl', '-sS', '-m', '8', urlOf(stealth.server, family, port)], {
        knock: stealth.knock(stealth.client, mode),
      }),
    );
    if (result.status === 0) return expectTokens(packets, mode);
    expect(packets).toEqual([]);
    expect(result.stderr).toMatch(/^knockify: .*tcp_fastopen/m);
  });
});

test.each(KINDS)('$family, $mode: a client that bound its address', async (kind) => {
  const address = stealth.client.addresses[kind.family === 'ipv6' ? 'ipv6' : 'ipv4'];
  // curl has no IPv4-mapped source addresses.
  if (kind.family !== 'mapped') await expectPage(kind, ['--interface', address]);
});

test.each(KINDS)('$family, $mode: a client that bound its port', async (kind) => {
  const packets = await expectPage(kind, ['--local-port', '43210-43219']);
  expect(Math.floor((syns(packets)[0]?.sourcePort ?? 0) / 10)).toBe(4321);
});

describe.each(KINDS.filter(({ mode }) => mode === 'integrity'))('$family, integrity', ({ family, port }) => {
  const connect = (...payloads: string[]) =>
    capturing(stealth.lab, () =>
      run(
        stealth.client,
        [
          ...[PYTHON, STEPS, 'connect', stealth.server.addresses[family], String(port)],
          ...payloads.map((payload) => Buffer.from(payload).toString('hex')),
        ],
        { knock: stealth.knock(stealth.client, 'integrity'), env: { PATIENCE: '3' } },
      ),
    );

  test('small writes leave as one segment', async () => {
    const { result, packets } = await connect('GET', ' /', ' HTTP/1.0', '\r\nHost: ', 'nobody', '\r\n\r\n');
    expect(JSON.parse(result.stdout).steps.every(([, outcome]: string[]) => outcome === 'ok')).toBe(true);
    expectTokens(packets, 'integrity');
    const [syn] = syns(packets);
    const first = syn === undefined ? Buffer.of() : firstSegmentAfter(syn, packets);
    expect(first.length).toBeGreaterThanOrEqual(PROTECTED_LENGTH);
  });

  test('a program that waits before it has written enough is told so', async () => {
    const { result, packets } = await connect('GET / HTTP/1.0\r\n');
    expect(packets).toEqual([]);
    expect(result.stderr).toMatch(/^knockify: [^\n]*KNOCK_INTLEN/m);
  });
});

describe.each(['auth', 'integrity'] as const)('within one machine, %s', (mode) => {
  test.each(['127.0.0.1', '[::1]', '[::ffff:127.0.0.1]'])('%s', async (address) => {
    const { server } = stealth;
    const command = ['curl', '-sS', '-m', '8', `http://${address}:${portOf('mapped', mode)}/`];
    const knock = stealth.knock(server, mode);
    expect(await run(server, command, { knock })).toMatchObject({ status: 0, stdout: PAGE, stderr: '' });
    expect((await run(server, command)).status).toBe(7);
  });
});

test('KNOCK_TARGETS: what matches is stealthy, the rest is plain', async () => {
  const { lab, client, server } = stealth;
  const plain = await startLighttpd(lab, { family: 'ipv4', port: 9104 });
  const guarded = portOf('ipv4', 'auth');
  const knock = { ...stealth.knock(client), targets: `${server.addresses.ipv4}/32:${guarded}` };
  for (const port of [guarded, plain.port]) {
    const outcome = await run(client, ['curl', '-sS', '-m', '8', urlOf(server, 'ipv4', port)], { knock });
    expect(outcome).toMatchObject({ status: 0, stdout: PAGE, stderr: '' });
  }
  await stop(plain.program);
});

test('knockify run brings its own control process', async () => {
  const { lab, client, server } = stealth;
  const secret = join(lab.directory, 'secret');
  writeFileSync(secret, SECRET);
  chmodSync(secret, 0o600);
  const knockify = (...command: string[]) => [
    ...['env', `KNOCK_CONTROL=${lab.directory}/nobody.sock`],
    ...[process.execPath, KNOCKIFY, 'run', '--secret-file', secret, '--', ...command],
  ];
  const port = 8190;
  const web = start(server, knockify('lighttpd', '-D', '-f', writeLighttpdConfig(lab, 'ipv4', port)));
  await untilListening(web, port);
  const url = urlOf(server, 'ipv4', port);
  const { result, packets } = await capturing(lab, () => run(client, ['curl', '-sS', url]));
  expect(result.status).toBe(7);
  expect(shape(packets, port)).toEqual(['> S 0', '< RA 0']);
  const outcome = await run(client, knockify('curl', '-sS', '-m', '8', url));
  expect(outcome).toMatchObject({ status: 0, stdout: PAGE });
  await stop(web);
});
