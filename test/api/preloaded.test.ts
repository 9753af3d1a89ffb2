import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from '../lab/capture.ts';
import { PAGE, startLighttpd, urlOf } from '../lab/lighttpd.ts';
import { syns } from '../lab/packets.ts';
import { type Knock, run } from '../lab/program.ts';
import { KINDS, openStealthLab, PROTECTED_LENGTH, SECRET, type StealthLab } from '../lab/stealthlab.ts';
import { takeApart } from '../lab/syn.ts';
import { connects, serves } from './tasks.ts';

/** The public API and libknockify.so: at the two ends of a connection, and in one process. */

const REQUEST = 'GET / HTTP/1.0\r\nX-Filler: so that there is enough to protect\r\n\r\n';
const HTTP_PORT = 500;
const PRELOADED_PORT = 600;

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
});
afterAll(() => stealth?.close());

function client(port: number, family: 'ipv4' | 'ipv6' | 'mapped', mode: string, request: string) {
  const protects = mode === 'integrity' ? PROTECTED_LENGTH : 0;
  return {
    to: [
      {
        host: stealth.server.addresses[family],
        port,
        secret: SECRET,
        payload: protects > 0 ? request.slice(0, protects) : undefined,
        control: stealth.controls.client.socket,
      },
    ],
    write: request.slice(protects),
  };
}

const listener = (family: 'ipv4' | 'ipv6' | 'mapped', mode: string, port: number) => ({
  port,
  host: family === 'mapped' ? '::' : stealth.server.addresses[family],
  secret: SECRET,
  protectedLength: mode === 'integrity' ? PROTECTED_LENGTH : 0,
  control: stealth.controls.server.socket,
});

describe.each(KINDS)('$family, $mode', ({ family, mode, port }) => {
  test('an API client fetches a page from lighttpd under the library', async () => {
    await startLighttpd(stealth.lab, { family, port, knock: stealth.knock(stealth.server, mode) });
    const [line] = await connects(stealth.client, client(port, family, mode, REQUEST));
    expect(line?.got).toMatch(/^HTTP\/1\.0 200 OK\r\n/);
    expect(line?.got).toMatch(new RegExp(`\r\n\r\n${PAGE}$`));
  });

  test('curl under the library fetches from an API server, twice on one connection', async () => {
    const at = port + HTTP_PORT;
    await serves(stealth.server, { kind: 'http', on: [listener(family, mode, at)] });
    const urls = ['/one', '/two'].map((path) => urlOf(stealth.server, family, at, path));
    const knock = stealth.knock(stealth.client, mode);
    const outcome = await run(stealth.client, ['curl', '-sS', '-m', '8', ...urls], { knock });
    expect(outcome).toMatchObject({ status: 0, stdout: 'path /one\npath /two\n', stderr: '' });
    const wrong = await run(stealth.client, ['curl', '-sS', '-m', '8', ...urls], {
      knock: { ...knock, secret: 'another secret' },
    });
    expect(wrong.status).not.toBe(0);
    expect(wrong.stdout).toBe('');
  });

  test('in one process: what the API is told counts, and is done once', async () => {
    const at = port + PRELOADED_PORT;
    const preloaded = (knock: Knock) => ({ knock: { ...knock, secret: 'of the environment', intlen: 99 } });
    const server = await serves(
      stealth.server,
      { kind: 'echo', on: [listener(family, mode, at)] },
      preloaded(stealth.knock(stealth.server)),
    );
    const { result, packets } = await capturing(stealth.lab, () =>
      connects(stealth.client, client(at, family, mode, REQUEST), preloaded(stealth.knock(stealth.client))),
    );
    expect(result).toMatchObject([{ got: REQUEST }, { left: 0 }]);
    expect(server.stderr()).toBe('');
    const [syn, another] = syns(packets);
    if (syn === undefined) throw new Error('no SYN was sent');
    expect(another).toBeUndefined();
    const bytes = mode === 'integrity' ? Buffer.from(REQUEST).subarray(0, PROTECTED_LENGTH) : undefined;
    const taken = takeApart(syn, SECRET, bytes);
    expect(taken.onTheWire).toBe(taken.computed);
  });
});

test('a worker thread connects and ends, and the program goes on', async () => {
  const port = 8900;
  await serves(stealth.server, { kind: 'echo', on: [listener('ipv4', 'integrity', port)] });
  const task = { ...client(port, 'ipv4', 'integrity', REQUEST), threaded: true };
  expect(await connects(stealth.client, task)).toMatchObject([{ got: REQUEST }, { left: 0 }]);
});
