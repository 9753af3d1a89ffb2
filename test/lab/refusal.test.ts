import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken, integrityHash } from '../../ts/stealth/token.ts';
import { startAcceptor } from './acceptor.ts';
import { capturing } from './capture.ts';
import { setSysctl } from './netns.ts';
import { type Packet, shape, syns } from './packets.ts';
import {
  finish,
  type Outcome,
  type Program,
  PYTHON,
  REPOSITORY,
  run,
  start,
  until,
  untilListening,
  untilSays,
} from './program.ts';
import { KINDS, openStealthLab, PROTECTED_LENGTH, SECRET, type StealthLab } from './stealthlab.ts';

/** Whoever lacks the secret, or breaks his own promise, meets a closed port or a reset. */

const STEPS = `${REPOSITORY}/test/programs/steps.py`;
const DEVIANT = fileURLToPath(new URL('deviant.py', import.meta.url));
const PAYLOAD = Buffer.from('exactly these bytes, please, and no others');
const WRONG_SECRET = 'another secret';

let stealth: StealthLab;
const servers = new Map<number, Program>();

beforeAll(async () => {
  stealth = await openStealthLab();
  const { server } = stealth;
  await Promise.all(
    KINDS.map(async ({ family, mode, port }) => {
      const address = family === 'mapped' ? '::' : server.addresses[family];
      const knock = stealth.knock(server, mode);
      servers.set(port, await startAcceptor(server, address, port, { knock }));
    }),
  );
});
afterAll(() => stealth?.close());

/** What the application on `port` has seen so far, one line a connection. */
function seenBy(port: number): string {
  return servers.get(port)?.stdout() ?? '';
}

/** Runs a client and checks that its server's application learnt nothing of it. */
async function unseen(
  port: number,
  client: () => Promise<Outcome>,
): Promise<{ result: Outcome; packets: Packet[] }> {
  const before = seenBy(port);
  const done = await capturing(stealth.lab, client);
  expect(seenBy(port)).toBe(before);
  return done;
}

const connector = (address: string, port: number) => [
  PYTHON,
  STEPS,
  'connect',
  address,
  String(port),
  PAYLOAD.toString('hex'),
];

describe.each(KINDS)('$family, $mode', ({ family, mode, port }) => {
  const address = () => stealth.server.addresses[family];
  const refused = ['> S 0', '< RA 0'];

  test('the right client is served', async () => {
    const before = seenBy(port);
    const outcome = await run(stealth.client, connector(address(), port), {
      knock: stealth.knock(stealth.client, mode),
    });
    expect(outcome).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(outcome.stdout).steps).toEqual([
      ['connect', 'ok'],
      ['send', 'ok'],
      ['recv', 'ok'],
    ]);
    await until('the server to tell', () => seenBy(port) !== before);
    expect(JSON.parse(seenBy(port).slice(before.length))).toEqual({ got: PAYLOAD.toString('hex') });
  });

  test('a plain client is refused', async () => {
    const { result, packets } = await unseen(port, () => run(stealth.client, connector(address(), port)));
    expect(JSON.parse(result.stdout).steps).toEqual([['connect', 'ECONNREFUSED']]);
    expect(shape(packets, port)).toEqual(refused);
  });

  test('a wrong secret is refused', async () => {
    const { result, packets } = await unseen(port, () =>
      run(stealth.client, connector(address(), port), {
        knock: stealth.knock(stealth.client, mode, WRONG_SECRET),
      }),
    );
    expect(result.stdout).toContain('ECONNREFUSED');
    expect(shape(packets, port)).toEqual(refused);
  });

  test('a client of the other mode is refused', async () => {
    const other = mode === 'auth' ? 'integrity' : 'auth';
    const { result, packets } = await unseen(port, () =>
      run(stealth.client, connector(address(), port), { knock: stealth.knock(stealth.client, other) }),
    );
    expect(result.stdout).toContain('ECONNREFUSED');
    expect(shape(packets, port)).toEqual(refused);
  });
});

describe.each(KINDS.filter(({ mode }) => mode === 'integrity'))('$family, integrity', ({ family, port }) => {
  const address = () => stealth.server.addresses[family];

  test.each([PROTECTED_LENGTH - 8, PROTECTED_LENGTH + 8])(
    'protected length %d instead is reset',
    async (intlen) => {
      const { packets, result } = await unseen(port, () =>
        run(stealth.client, connector(address(), port), {
          knock: { ...stealth.knock(stealth.client, 'integrity'), intlen },
        }),
      );
      expect(result.stdout).toContain('ECONNRESET');
      expect(packets.at(-1)?.flags).toMatch(/^RA?$/);
      expect(packets.at(-1)?.sourcePort).toBe(port);
    },
  );

  describe.each([
    { cookies: 'SYN cookies when need be', value: 1 },
    { cookies: 'SYN cookies always', value: 2 },
  ])('$cookies, a client with a token of its own making', ({ value }) => {
    beforeAll(() => {
      setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', value);
      // A client that is not the library can't know T beforehand.
      setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', 0);
    });
    afterAll(() => {
      setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 1);
      setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', 1);
    });

    /** Promises the beginning of PAYLOAD, and sends `segments`. */
    function startDeviant(segments: readonly Buffer[]): Program {
      const secret = padSecret(Buffer.from(SECRET));
      const { isn } = computeToken({
        secret,
        destination: destinationOf(address(), port),
        tsval: 0,
        integrityHash: integrityHash(secret, PAYLOAD.subarray(0, PROTECTED_LENGTH)),
      });
      const hex = segments.map((segment) => segment.toString('hex'));
      return start(stealth.client, [PYTHON, DEVIANT, address(), String(port), String(isn), ...hex]);
    }
    const deviate = (segments: readonly Buffer[]) => finish(startDeviant(segments));

    test('that keeps its promise is served', async () => {
      expect(await deviate([PAYLOAD])).toMatchObject({ status: 0, stdout: `${PAYLOAD.toString('hex')}\n` });
    });

    test('that keeps it a while after the handshake is served', async () => {
      const late = await deviate([Buffer.of(), PAYLOAD]);
      expect(late).toMatchObject({ status: 0, stdout: `${PAYLOAD.toString('hex')}\n` });
    });

    const changed = (at: number) =>
      Buffer.from(PAYLOAD.map((byte, index) => (index === at ? byte ^ 1 : byte)));
    test.each([
      { deviation: 'changes its first byte', segments: [changed(0)] },
      { deviation: 'changes its last protected byte', segments: [changed(PROTECTED_LENGTH - 1)] },
      {
        deviation: 'sends a short first segment',
        segments: [PAYLOAD.subarray(0, PROTECTED_LENGTH - 1), PAYLOAD.subarray(PROTECTED_LENGTH - 1)],
      },
      {
        deviation: 'sends a first segment of one byte',
        segments: [PAYLOAD.subarray(0, 1), PAYLOAD.subarray(1)],
      },
    ])('that $deviation is reset', async ({ segments }) => {
      const { result, packets } = await unseen(port, () => deviate(segments));
      expect(syns(packets)).toHaveLength(1);
      expect(result.stdout).toMatch(/ECONNRESET|EPIPE/);
      expect(packets.at(-1)?.flags).toMatch(/^RA?$/);
      expect(packets.at(-1)?.sourcePort).toBe(port);
    });

    /** The server accepts nothing until all segments are there. */
    async function deviateWhileBusy(segments: readonly Buffer[]): Promise<Outcome> {
      const busy = servers.get(port)?.child;
      busy?.kill('SIGSTOP');
      const deviant = startDeviant(segments);
      await untilSays(deviant, 'sent\n');
      busy?.kill('SIGCONT');
      return finish(deviant);
    }

    test('that sends a short first segment to a busy server is reset', async () => {
      const { result, packets } = await unseen(port, () =>
        deviateWhileBusy([PAYLOAD.subarray(0, 4), PAYLOAD.subarray(4)]),
      );
      expect(packets.filter(({ length }) => length > 0)).toHaveLength(2);
      expect(result.stdout).toMatch(/ECONNRESET|EPIPE/);
      expect(packets.at(-1)?.flags).toMatch(/^RA?$/);
      expect(packets.at(-1)?.sourcePort).toBe(port);
    });

    test('that sends all protected bytes, then more, to a busy server is served', async () => {
      const first = PAYLOAD.subarray(0, PROTECTED_LENGTH);
      const served = await deviateWhileBusy([first, PAYLOAD.subarray(PROTECTED_LENGTH)]);
      expect(served).toMatchObject({ status: 0, stdout: `${PAYLOAD.toString('hex')}\n` });
    });

    test('that changes a byte behind the protected ones is served', async () => {
      const sent = changed(PROTECTED_LENGTH);
      expect((await deviate([sent])).stdout).toBe(`${sent.toString('hex')}\n`);
    });
  });
});

test('a server that waits by select() does not block in accept() when a connection was reset', async () => {
  const { client, server } = stealth;
  const address = server.addresses.ipv4;
  const port = 8290;
  const script = `${REPOSITORY}/test/programs/selector.py`;
  const knock = stealth.knock(server, 'integrity');
  const selector = start(server, [PYTHON, '-u', script, address, String(port)], { knock });
  await untilListening(selector, port);
  const connect = (intlen: number) =>
    run(client, connector(address, port), { knock: { ...stealth.knock(client, 'integrity'), intlen } });
  await connect(PROTECTED_LENGTH + 8);
  await until('accept() to return', () => selector.stdout() !== '');
  expect((await connect(PROTECTED_LENGTH)).stdout).toContain('["recv", "ok"]');
  expect(selector.stdout()).toBe('EINTR\nok\n');
});
