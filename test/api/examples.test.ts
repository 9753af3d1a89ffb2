import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PAGE, startLighttpd } from '../lab/lighttpd.ts';
import type { Host } from '../lab/netns.ts';
import { type Program, REPOSITORY, run, start, untilSays } from '../lab/program.ts';
import { KINDS, openStealthLab, PROTECTED_LENGTH, SECRET, type StealthLab } from '../lab/stealthlab.ts';
import { TYPESCRIPT } from './tasks.ts';

/** The examples, as they are: with the package by its name, so as it was built. */

const SERVER = join(REPOSITORY, 'examples/node/server.ts');
const CLIENT = join(REPOSITORY, 'examples/node/client.ts');
const MESSAGE = 'a message that is longer than what is protected of it';

let stealth: StealthLab;
let secretFile: string;

const environment = (host: Host) => ({ env: { KNOCK_CONTROL: stealth.controls[host.name].socket } });

function serve(port: number, protectedLength: number): Program {
  const command = [...TYPESCRIPT, SERVER, String(port), secretFile, String(protectedLength)];
  return start(stealth.server, command, environment(stealth.server));
}

function send(host: string, port: number, message: string, protectedLength: number, secret = secretFile) {
  const command = [...TYPESCRIPT, CLIENT, host, String(port), secret, message, String(protectedLength)];
  return run(stealth.client, command, environment(stealth.client));
}

beforeAll(async () => {
  stealth = await openStealthLab();
  secretFile = join(stealth.lab.directory, 'secret');
  writeFileSync(secretFile, SECRET, { mode: 0o600 });
});
afterAll(() => stealth?.close());

describe.each(['auth', 'integrity'] as const)('%s', (mode) => {
  const protects = mode === 'integrity' ? PROTECTED_LENGTH : 0;
  const port = 9000 + protects;

  test('client and server, over IPv4 and IPv6', async () => {
    const server = serve(port, protects);
    await untilSays(server, 'listening on');
    for (const family of ['ipv4', 'ipv6'] as const) {
      const outcome = await send(stealth.server.addresses[family], port, MESSAGE, protects);
      expect(outcome).toMatchObject({ status: 0, stdout: MESSAGE, stderr: '' });
    }
    const wrong = join(stealth.lab.directory, 'wrong');
    writeFileSync(wrong, 'another secret', { mode: 0o600 });
    const refused = await send(stealth.server.addresses.ipv4, port, MESSAGE, protects, wrong);
    expect(refused).toMatchObject({ status: 1, stdout: '' });
    expect(refused.stderr).toBe(`connect: ECONNREFUSED: connection refused 192.0.2.2:${port}\n`);
    expect(server.stderr()).toBe('');
  });

  test.each(KINDS.filter((kind) => kind.mode === mode))(
    'the client fetches a page from lighttpd under the library: $family',
    async ({ family, port: at }) => {
      await startLighttpd(stealth.lab, { family, port: at, knock: stealth.knock(stealth.server, mode) });
      const request = `GET / HTTP/1.0\r\nHost: ${stealth.server.name}\r\n\r\n`;
      const outcome = await send(stealth.server.addresses[family], at, request, protects);
      expect(outcome).toMatchObject({ status: 0, stderr: '' });
      expect(outcome.stdout).toMatch(new RegExp(`^HTTP/1.0 200 OK\r\n(.+\r\n)+\r\n${PAGE}$`));
    },
  );
});

test('the client says what is missing', async () => {
  const command = [...TYPESCRIPT, CLIENT, stealth.server.addresses.ipv4, '9999', secretFile, MESSAGE];
  const outcome = await run(stealth.client, command, { env: { KNOCK_CONTROL: '/nonexistent/control.sock' } });
  expect(outcome).toMatchObject({ status: 1, stdout: '' });
  expect(outcome.stderr).toMatch(
    /^no stealth: connect: no control process at \/nonexistent\/control\.sock .+\n$/,
  );
});
