import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken, integrityHash } from '../../ts/stealth/token.ts';
import { capturing } from '../lab/capture.ts';
import { startControl } from '../lab/control.ts';
import { type Family, loseEverythingFrom, setSysctl } from '../lab/netns.ts';
import { shape } from '../lab/packets.ts';
import { listeningPorts, type Program, PYTHON, run, stop, until } from '../lab/program.ts';
import {
  KINDS,
  openStealthLab,
  PROTECTED_LENGTH,
  portOf,
  SECRET,
  type StealthLab,
} from '../lab/stealthlab.ts';
import { type Connects, connects, type Line, linesOf, serves } from './tasks.ts';

/** What the public API refuses, and how it says so. */

const DEVIANT = fileURLToPath(new URL('../lab/deviant.py', import.meta.url));
const PAYLOAD = 'promised bytes of length '.padEnd(PROTECTED_LENGTH, '.').slice(0, PROTECTED_LENGTH);
const PLACES = KINDS.filter(({ family }) => family !== 'mapped');

let stealth: StealthLab;
let server: Program;

const told = (): Line[] => linesOf(server.stdout());

beforeAll(async () => {
  stealth = await openStealthLab();
  const { addresses } = stealth.server;
  const { socket: control } = stealth.controls.server;
  server = await serves(stealth.server, {
    kind: 'echo',
    on: PLACES.map(({ family, mode, port }) => ({
      port,
      host: addresses[family],
      secret: SECRET,
      protectedLength: mode === 'integrity' ? PROTECTED_LENGTH : 0,
      control,
    })),
  });
});
afterAll(() => stealth?.close());

type Place = (typeof KINDS)[number];
type Otherwise = Partial<Connects['to'][number]>;

function usually({ family, port, mode }: Place): Connects['to'][number] {
  return {
    host: stealth.server.addresses[family],
    port,
    secret: SECRET,
    payload: mode === 'integrity' ? PAYLOAD : undefined,
    control: stealth.controls.client.socket,
  };
}

/** Connects to one of the servers, each time with something else done otherwise; returns what became of it. */
async function attempts(
  { family, port, mode }: Place,
  otherwise: readonly Otherwise[],
): Promise<{ lines: readonly Line[]; flow: readonly string[] }> {
  const usual = usually({ family, port, mode });
  const { result, packets } = await capturing(stealth.lab, () =>
    connects(stealth.client, { to: otherwise.map((one) => ({ ...usual, ...one })) }),
  );
  expect(result.pop()).toEqual({ left: 0 });
  return { lines: result, flow: shape(packets, port) };
}

async function attempt(place: Place, otherwise: Otherwise): Promise<{ line: Line; flow: readonly string[] }> {
  const { lines, flow } = await attempts(place, [otherwise]);
  const [line] = lines;
  if (line === undefined) throw new Error('nothing was said');
  return { line, flow };
}

describe.each(PLACES)('$family, $mode', (place) => {
  test('a wrong secret and the other mode are refused', async () => {
    const before = told();
    const { lines, flow } = await attempts(place, [
      { secret: 'another secret' },
      { payload: place.mode === 'auth' ? PAYLOAD : undefined },
    ]);
    const address = stealth.server.addresses[place.family];
    const error = {
      name: 'Error',
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address,
      port: place.port,
      message: `connect: ECONNREFUSED: connection refused ${address}:${place.port}`,
    };
    expect(lines).toEqual([{ error }, { error }]);
    expect(flow).toEqual(['> S 0', '< RA 0', '> S 0', '< RA 0']);
    expect(told()).toEqual(before);
  });

  test('without a control process, or with one of another network namespace, nothing is sent', async () => {
    const nobody = join(stealth.lab.directory, 'nobody.sock');
    const { lines, flow } = await attempts(place, [
      { control: nobody },
      { control: stealth.controls.server.socket },
    ]);
    expect(lines).toMatchObject(
      [`connect: no control process at ${nobody} (ENOENT): start`, 'another network namespace'].map(
        (text) => ({
          error: {
            name: 'StealthError',
            code: 'EPROTONOSUPPORT',
            syscall: 'connect',
            message: expect.stringContaining(text),
          },
        }),
      ),
    );
    expect(flow).toEqual([]);
  });
});

describe.each(['ipv4', 'ipv6'] as const)('integrity over %s', (family) => {
  const port = portOf(family, 'integrity');
  const place = { family, port, mode: 'integrity' } as const;

  test.each([PROTECTED_LENGTH - 8, PROTECTED_LENGTH + 8])(
    'a payload of %d bytes instead is reset, and the server never sees it',
    async (length) => {
      const before = told();
      const { line, flow } = await attempt(place, { payload: 'x'.repeat(length) });
      expect(line).toMatchObject({ error: { code: 'ECONNRESET' } });
      expect(flow.at(-1)).toMatch(/^< RA? 0$/);
      expect(told()).toEqual(before);
    },
  );

  describe('a client that breaks its promise', () => {
    // Who is not the library can't know T beforehand.
    beforeAll(() => setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', 0));
    afterAll(() => setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', 1));

    const whole = Buffer.from(`${PAYLOAD}, and more`);
    const changed = Buffer.from(whole.map((byte, at) => (at === PROTECTED_LENGTH - 1 ? byte ^ 1 : byte)));

    function deviate(segments: readonly Buffer[]) {
      const secret = padSecret(Buffer.from(SECRET));
      const { isn } = computeToken({
        secret,
        destination: destinationOf(stealth.server.addresses[family], port),
        tsval: 0,
        integrityHash: integrityHash(secret, Buffer.from(PAYLOAD)),
      });
      const hex = segments.map((segment) => segment.toString('hex'));
      const command = [PYTHON, DEVIANT, stealth.server.addresses[family], String(port), String(isn), ...hex];
      return run(stealth.client, command);
    }

    test.each([
      { what: 'by other bytes', segments: [changed] },
      { what: 'by a short first segment', segments: [whole.subarray(0, 8), whole.subarray(8)] },
    ])('$what is reset, and the server never sees it', async ({ segments }) => {
      const before = told();
      expect((await deviate(segments)).stdout).toMatch(/ECONNRESET|EPIPE/);
      expect(told()).toEqual(before);
    });

    test('but not one that keeps it', async () => {
      const before = told().length;
      expect((await deviate([whole])).stdout).toBe(`${whole.toString('hex')}\n`);
      await until('the server to tell', () => told().length > before);
      expect(told()[before]).toEqual({ connection: stealth.client.addresses[family] });
    });
  });
});

describe('an attempt that leads nowhere', () => {
  const place = { family: 'ipv4', mode: 'auth', port: portOf('ipv4', 'auth') } as const;
  let restore: () => void;
  beforeAll(() => {
    restore = loseEverythingFrom(stealth.lab, stealth.client);
  });
  afterAll(() => restore());

  test('ends with ETIMEDOUT when the time is up', async () => {
    const { line } = await attempt(place, { timeout: 200 });
    expect(line).toMatchObject({
      error: { name: 'Error', code: 'ETIMEDOUT', syscall: 'connect', port: place.port },
    });
  });

  test("ends with the signal's reason when it is aborted", async () => {
    const { line } = await attempt(place, { abortAfter: 200 });
    expect(line).toMatchObject({ error: { name: 'TimeoutError' } });
  });

  test('ends with its worker thread, and the program goes on', async () => {
    const task = { to: [usually(place)], threaded: true, exitAfter: 200 };
    expect(await connects(stealth.client, task)).toEqual([]);
  });
});

test('what makes no sense is a RangeError, and nothing is sent', async () => {
  const nonsense: readonly (readonly [Otherwise, message: string])[] = [
    [{ port: 0 }, 'port is 0; must be'],
    [{ payload: '' }, 'payload.length is 0; must be'],
    [{ payload: 'x'.repeat(1025) }, 'payload.length is 1025'],
    [{ secret: '' }, 'the secret is empty'],
    [{ secret: 'h:00ff' }, 'give { hex }'],
    [{ secret: { hex: 'abc' } }, 'an even number of hexadecimal digits'],
    [{ localPort: 1 }, 'without localAddress'],
  ];
  const place = { family: 'ipv4', mode: 'auth', port: portOf('ipv4', 'auth') } as const;
  const { lines, flow } = await attempts(
    place,
    nonsense.map(([otherwise]) => otherwise),
  );
  expect(lines).toMatchObject(
    nonsense.map(([, text]) => ({ error: { name: 'RangeError', message: expect.stringContaining(text) } })),
  );
  expect(flow).toEqual([]);
});

describe('a server', () => {
  const base = () => ({ host: '192.0.2.2', secret: SECRET, control: stealth.controls.server.socket });

  test('that can have no stealth does not listen', async () => {
    const control = join(stealth.lab.directory, 'nobody.sock');
    const failing = await serves(stealth.server, {
      kind: 'echo',
      on: [{ ...base(), port: 8500, control }],
    });
    expect(linesOf(failing.stdout())).toMatchObject([
      { error: { name: 'StealthError', code: 'EPROTONOSUPPORT', syscall: 'listen' }, listening: false },
    ]);
    expect(await failing.ended).toMatchObject({ status: 0 });
    expect(listeningPorts(server.pid)).not.toContain(8500);
  });

  test('whose port is taken says EADDRINUSE', async () => {
    const [taken] = PLACES;
    const port = taken?.port ?? 0;
    const failing = await serves(stealth.server, { kind: 'echo', on: [{ ...base(), port }] });
    expect(linesOf(failing.stdout())).toMatchObject([
      { error: { name: 'Error', code: 'EADDRINUSE', syscall: 'listen', address: '192.0.2.2', port } },
    ]);
  });

  test('under the library whose settings make no sense says so', async () => {
    const on = [{ ...base(), port: 8501 }];
    const knock = { ...stealth.knock(stealth.server), secret: 'h:odd' };
    const failing = await serves(stealth.server, { kind: 'echo', on }, { knock });
    const message = expect.stringContaining('libknockify.so is preloaded and refuses');
    expect(linesOf(failing.stdout())).toMatchObject([{ error: { name: 'StealthError', message } }]);
    expect(await failing.ended).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(/^knockify: listen: /),
    });
    expect(listeningPorts(server.pid)).not.toContain(8501);
  });

  test.each(['ipv4', 'ipv6'] satisfies Family[])(
    'over %s whose control process went away: goes on without inspection, and resets all with it',
    async (family) => {
      const passing = await startControl(stealth.lab, stealth.server);
      const abandoned = await serves(stealth.server, {
        kind: 'echo',
        on: [0, PROTECTED_LENGTH].map((protectedLength) => ({
          port: 8600 + protectedLength,
          host: stealth.server.addresses[family],
          secret: SECRET,
          protectedLength,
          control: passing.socket,
        })),
      });
      await passing.stop();
      const auth = await attempt({ family, mode: 'auth', port: 8600 }, {});
      expect(auth.line).toMatchObject({ got: '' });
      const integrity = await attempt({ family, mode: 'integrity', port: 8600 + PROTECTED_LENGTH }, {});
      expect(integrity.line).toMatchObject({ error: { code: 'ECONNRESET' } });
      const { stdout, stderr } = await stop(abandoned);
      expect(stderr).toContain(`StealthWarning: accept: no control process at ${passing.socket}`);
      expect(linesOf(stdout).filter((line) => 'connection' in line)).toHaveLength(1);
    },
  );
});
