import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken, integrityHash } from '../../ts/stealth/token.ts';
import { startAcceptor } from './acceptor.ts';
import { capturing } from './capture.ts';
import { type Control, startControl } from './control.ts';
import { doom, startDoomed } from './doom.ts';
import { PAGE, startLighttpd, urlOf } from './lighttpd.ts';
import { type Lab, openLab, setSysctl } from './netns.ts';
import { scan } from './nmap.ts';
import { syns } from './packets.ts';
import {
  type Knock,
  listeningPorts,
  PYTHON,
  REPOSITORY,
  run,
  start,
  stop,
  until,
  untilSays,
} from './program.ts';
import { patient } from './slowness.ts';
import { MODES, type Mode, PROTECTED_LENGTH, SECRET } from './stealthlab.ts';
import { firstSegmentAfter, takeApart } from './syn.ts';

/**
 * The control process is killed at the K-th of each kind of system call that it makes for a request. Whatever
 * it had done by then, nothing plain leaves the machine. K goes up until the request outlives it.
 */

const STEPS = `${REPOSITORY}/test/programs/steps.py`;
const DEVIANT = fileURLToPath(new URL('deviant.py', import.meta.url));
const REQUEST = Buffer.from('GET / HTTP/1.0\r\nHost: nobody\r\n\r\n');
const PORTS: Readonly<Record<Mode, number>> = { auth: 8400, integrity: 8401 };
/** What the engine does to a socket, and how the control process speaks. */
const CALLS = ['setsockopt', 'getsockopt', 'bpf', 'connect', 'sendmsg', 'recvmsg'] as const;
/** More steps than any request has. */
const TOO_MANY = 80;
const ONE_LINE = /^knockify: [^\n]+\n$/;
/** Each of these starts some dozens of control processes. */
const PATIENCE = patient(180_000);

let lab: Lab;
let serverControl: Control;

beforeAll(async () => {
  lab = openLab();
  serverControl = await startControl(lab, lab.server);
  for (const mode of MODES) {
    await startLighttpd(lab, { family: 'ipv4', port: PORTS[mode], knock: knockOf(serverControl, mode) });
  }
});
afterAll(() => lab?.close());

function knockOf(control: Control, mode: Mode): Knock {
  const intlen = mode === 'integrity' ? PROTECTED_LENGTH : undefined;
  return { control: control.socket, secret: SECRET, intlen };
}

/** Calls `attempt` with K = 1, 2, … until the control process survives it, which `attempt` tells; returns how often it was killed. */
async function untilItSurvives(attempt: (when: number) => Promise<boolean>): Promise<number> {
  for (let when = 1; when <= TOO_MANY; when++) {
    if (await attempt(when)) return when - 1;
  }
  throw new Error(`a request that takes more than ${TOO_MANY} calls`);
}

interface Told {
  readonly steps: readonly (readonly [string, string])[];
  readonly after: { readonly repair: number };
}

/** A client whose control process dies at the `when`-th `call`. */
async function connectDoomed(mode: Mode, call: string, when: number) {
  const doomed = await startDoomed(lab, lab.client, call, when);
  const outcome = await run(
    lab.client,
    [PYTHON, STEPS, 'connect', lab.server.addresses.ipv4, String(PORTS[mode]), REQUEST.toString('hex')],
    { knock: knockOf(doomed.control, mode) },
  );
  const survived = doomed.isAlive();
  await doomed.end();
  return { survived, told: JSON.parse(outcome.stdout) as Told, stderr: outcome.stderr };
}

describe.each(MODES)('a client, %s', (mode) => {
  test.each(CALLS)(
    'its control process is killed at each %s',
    async (call) => {
      const { result: kills, packets } = await capturing(lab, () =>
        untilItSurvives(async (when) => {
          const { survived, told, stderr } = await connectDoomed(mode, call, when);
          const at = `${call} ${when}`;
          const failed = told.steps.filter(([, result]) => result !== 'ok');
          expect(told.after.repair, at).toBe(0);
          if (survived) expect({ at, failed, stderr }).toEqual({ at, failed: [], stderr: '' });
          for (const [, result] of failed) expect(result, at).toBe('EPROTONOSUPPORT');
          if (failed.length > 0) expect(stderr, at).toMatch(ONE_LINE);
          return survived;
        }),
      );
      expect(kills).toBeGreaterThan(0);
      expect(syns(packets).length).toBeGreaterThan(0);
      for (const syn of syns(packets)) {
        const segment = firstSegmentAfter(syn, packets.slice(packets.indexOf(syn)));
        // A connection that ended before its first segment had promised the same bytes.
        const promised = (segment.length > 0 ? segment : REQUEST).subarray(0, PROTECTED_LENGTH);
        const taken = takeApart(syn, SECRET, mode === 'integrity' ? promised : undefined);
        expect(taken.onTheWire).toBe(taken.computed);
      }
    },
    PATIENCE,
  );

  test('the next control process takes over', async () => {
    const control = await startControl(lab, lab.client);
    const url = urlOf(lab.server, 'ipv4', PORTS[mode]);
    const outcome = await run(lab.client, ['curl', '-sS', '-m', '8', url], { knock: knockOf(control, mode) });
    await control.stop();
    expect(outcome).toMatchObject({ status: 0, stdout: PAGE, stderr: '' });
  });
});

describe.each(MODES)('a listener, %s', (mode) => {
  test.each(CALLS.filter((call) => call !== 'connect'))(
    'its control process is killed at each %s',
    async (call) => {
      let port = 8500;
      const kills = await untilItSurvives(async (when) => {
        port++;
        const doomed = await startDoomed(lab, lab.server, call, when);
        const program = start(
          lab.server,
          [PYTHON, STEPS, 'listen', lab.server.addresses.ipv4, String(port)],
          {
            knock: knockOf(doomed.control, mode),
          },
        );
        await until('the program to tell', () => program.stdout().includes('\n') || !program.isRunning());
        const told = JSON.parse(program.stdout()) as Told;
        const [[, result] = ['listen', 'nothing']] = told.steps;
        const at = `${call} ${when}`;
        expect(told.after.repair, at).toBe(0);
        expect(listeningPorts(serverControl.program.pid).includes(port), at).toBe(result === 'ok');
        if (result !== 'ok') {
          expect(result, at).toBe('EPROTONOSUPPORT');
          await program.ended;
          expect(program.stderr(), at).toMatch(ONE_LINE);
        }
        const survived = doomed.isAlive();
        if (survived) expect(result, at).toBe('ok');
        await doomed.end();
        // Guarded still, or not there at all.
        const [guarded] = await scan(lab.client, '-sS', lab.server.addresses.ipv4, [port]);
        expect(guarded, at).toMatchObject({ state: 'closed', reason: 'reset' });
        await stop(program, 'SIGKILL');
        return survived;
      });
      expect(kills).toBeGreaterThan(0);
    },
    PATIENCE,
  );
});

describe('a guard outlives its control process', () => {
  test('and keeps the port closed to everybody else', async () => {
    const control = await startControl(lab, lab.server);
    const { ipv4 } = lab.server.addresses;
    const server = start(lab.server, [PYTHON, STEPS, 'listen', ipv4, '8450'], {
      knock: knockOf(control, 'auth'),
    });
    // It does once its listen() is over.
    await untilSays(server, 'ok');
    control.program.child.kill('SIGKILL');
    await control.program.ended;
    const verdicts = await scan(lab.client, '-sS', lab.server.addresses.ipv4, [8450, 8451]);
    expect(verdicts.map(({ state, reason }) => `${state} ${reason}`)).toEqual([
      'closed reset',
      'closed reset',
    ]);
    const ending = await startControl(lab, lab.server);
    await ending.stop();
    const [after] = await scan(lab.client, '-sS', lab.server.addresses.ipv4, [8450]);
    expect(after).toMatchObject({ state: 'closed', reason: 'reset' });
    expect(server.isRunning()).toBe(true);
    await stop(server);
  });

  test.each(['getsockopt', 'sendmsg', 'recvmsg'])(
    'and no unchecked connection is accepted when it is killed at each %s',
    async (call) => {
      setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 0);
      let port = 8600;
      const kills = await untilItSurvives(async (when) => {
        port++;
        const control = await startControl(lab, lab.server);
        const program = await startAcceptor(lab.server, lab.server.addresses.ipv4, port, {
          knock: knockOf(control, 'integrity'),
        });
        const doomed = await doom(control, call, when);
        const answer = await breakPromise(port);
        expect(answer.trim(), `${call} ${when}`).toMatch(/^(ECONNRESET|EPIPE|timeout|end)$/);
        expect(program.stdout(), `${call} ${when}`).toBe('');
        const survived = doomed.isAlive();
        await doomed.end();
        await stop(program, 'SIGKILL');
        return survived;
      });
      setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 1);
      expect(kills).toBeGreaterThan(0);
    },
    PATIENCE,
  );
});

/** A client whose first segment is not what its token promised. Returns what it got. */
async function breakPromise(port: number): Promise<string> {
  const address = lab.server.addresses.ipv4;
  const secret = padSecret(Buffer.from(SECRET));
  const promised = integrityHash(secret, REQUEST.subarray(0, PROTECTED_LENGTH));
  const { isn } = computeToken({
    secret,
    destination: destinationOf(address, port),
    tsval: 0,
    integrityHash: promised,
  });
  const broken = Buffer.from(REQUEST).fill('!', 0, 1).toString('hex');
  return (await run(lab.client, [PYTHON, DEVIANT, address, String(port), String(isn), broken])).stdout;
}
