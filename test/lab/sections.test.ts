import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startAcceptor } from './acceptor.ts';
import { KNOCKIFY } from './control.ts';
import { PYTHON, REPOSITORY, run } from './program.ts';
import { openStealthLab, PROTECTED_LENGTH, type StealthLab } from './stealthlab.ts';

/** One client, several servers, a secret for each: by sections of its rc file. */

const STEPS = `${REPOSITORY}/test/programs/steps.py`;
const PAYLOAD = Buffer.from('what the client says first, and a little more');
const SERVED = [
  ['connect', 'ok'],
  ['send', 'ok'],
  ['recv', 'ok'],
];
const SERVERS = [
  { family: 'ipv4', port: 8195, secret: 'of the one server', mode: 'auth' },
  { family: 'ipv4', port: 8196, secret: 'of the other', mode: 'integrity' },
  { family: 'ipv6', port: 8197, secret: 'of the third', mode: 'auth' },
  { family: 'ipv4', port: 8198, secret: 'of all others', mode: 'auth' },
  { family: 'ipv4', port: 8199, secret: undefined, mode: 'auth' },
] as const;

let stealth: StealthLab;
let rc: string;

beforeAll(async () => {
  stealth = await openStealthLab();
  const { lab, server } = stealth;
  await Promise.all(
    SERVERS.map(async ({ family, port, secret, mode }) => {
      const knock = secret === undefined ? undefined : stealth.knock(server, mode, secret);
      await startAcceptor(server, server.addresses[family], port, { knock });
    }),
  );
  rc = join(lab.directory, 'client.rc');
  const file = join(lab.directory, 'third.secret');
  writeFileSync(file, 'of the third', { mode: 0o600 });
  const { ipv4, ipv6 } = server.addresses;
  const lines = [
    'KNOCK_SECRET=of all others',
    `KNOCK_TARGETS=${ipv4}:8198`,
    `[${ipv4}:8195]`,
    'KNOCK_SECRET=of the one server',
    `[${ipv4}:8196]`,
    'KNOCK_SECRET=of the other',
    `KNOCK_INTLEN=${PROTECTED_LENGTH}`,
    `[[${ipv6}]:8197]`,
    `KNOCK_SECRET=f:${file}`,
  ];
  writeFileSync(rc, `${lines.join('\n')}\n`, { mode: 0o600 });
});
afterAll(() => stealth?.close());

const connector = (address: string, port: number) => [
  PYTHON,
  STEPS,
  'connect',
  address,
  String(port),
  PAYLOAD.toString('hex'),
];

test.each(SERVERS)('$family, port $port: the secret that is for it', async ({ family, port }) => {
  const { client, server, controls } = stealth;
  const knock = { control: controls.client.socket };
  const { stdout, stderr } = await run(client, connector(server.addresses[family], port), {
    knock,
    env: { KNOCK_RC: rc },
  });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout).steps).toEqual(SERVED);
});

test.each(SERVERS)('knockify run, $family, port $port', async ({ family, port }) => {
  const { client, server, controls } = stealth;
  const command = [process.execPath, KNOCKIFY, 'run', '--', ...connector(server.addresses[family], port)];
  const env = { KNOCK_RC: rc, KNOCK_CONTROL: controls.client.socket };
  const { stdout, stderr } = await run(client, command, { env });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout).steps).toEqual(SERVED);
});

test('knockify check tries the secret that is for the port', async () => {
  const { client, server, controls } = stealth;
  const env = { KNOCK_RC: rc, KNOCK_CONTROL: controls.client.socket };
  const check = async (port: number, ...more: string[]) => {
    const command = [process.execPath, KNOCKIFY, 'check', server.addresses.ipv4, String(port), ...more];
    return (await run(client, command, { env })).stdout;
  };
  const opened = 'Hidden, and your secret opens it.';
  expect(await check(8195)).toContain(opened);
  expect(await check(8196, '--send', PAYLOAD.toString())).toContain(opened);
  expect(await check(8198)).toContain(opened);
});

test('knockify run takes a private control process where there is no secret for all', async () => {
  const { lab, client, server } = stealth;
  const only = join(lab.directory, 'only.rc');
  writeFileSync(only, `[${server.addresses.ipv4}:8195]\nKNOCK_SECRET=of the one server\n`, { mode: 0o600 });
  const env = { KNOCK_RC: only, KNOCK_CONTROL: join(lab.directory, 'nobody.sock') };
  const attempt = async (port: number) => {
    const command = [process.execPath, KNOCKIFY, 'run', '--', ...connector(server.addresses.ipv4, port)];
    const { stdout, stderr } = await run(client, command, { env, timeout: 30_000 });
    return { steps: JSON.parse(stdout).steps, stderr };
  };
  expect(await attempt(8195)).toEqual({ steps: SERVED, stderr: '' });
  const refused = await attempt(8198);
  expect(refused.steps).toEqual([['connect', 'EPROTONOSUPPORT']]);
  expect(refused.stderr).toContain('there is no secret');
});

test('two sections with the same claim are refused, and both lines named', async () => {
  const { lab, client, server, controls } = stealth;
  const rival = join(lab.directory, 'rival.rc');
  writeFileSync(rival, '[:8195]\nKNOCK_SECRET=one\n[:8195]\nKNOCK_SECRET=two\n', { mode: 0o600 });
  const { stdout, stderr } = await run(client, connector(server.addresses.ipv4, 8195), {
    knock: { control: controls.client.socket },
    env: { KNOCK_RC: rival },
  });
  expect(JSON.parse(stdout).steps).toEqual([['connect', 'EPROTONOSUPPORT']]);
  expect(stderr).toMatch(/^knockify: [^\n]*rival\.rc:3: [^\n]*rival\.rc:1[^\n]*\n$/);
});
