import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { capturing } from './capture.ts';
import { type Control, controlCommand, startControl } from './control.ts';
import { afflict } from './doom.ts';
import { filtersOn } from './filters.ts';
import { type Host, inside, type Lab, openLab } from './netns.ts';
import { finish, type Knock, PYTHON, run, start, stop, until, untilSays } from './program.ts';
import { SECRET } from './stealthlab.ts';

/** Descriptors, memory and disk space run out: clear errors, nothing plain on the wire, and all is well afterwards. */

const PORT = 8620;
/** Makes one call with so many descriptors left, and says so, and what came of it. */
const ATTEMPT = `
import errno, resource, socket, sys
what, address, port, spare = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
s = socket.socket()
if what == "listen":
    s.bind((address, port))
resource.setrlimit(resource.RLIMIT_NOFILE, (s.fileno() + 1 + spare,) * 2)
print("asking", flush=True)
try:
    s.listen() if what == "listen" else s.connect((address, port))
    print("ok")
except OSError as error:
    print(errno.errorcode[error.errno])
`;
const PLENTY = 100;

let lab: Lab;
let control: Control;
let knock: Knock;

beforeAll(() => {
  lab = openLab();
});
beforeEach(async () => {
  await control?.stop();
  control = await startControl(lab, lab.client);
  knock = { control: control.socket, secret: SECRET };
});
afterAll(() => lab?.close());

interface How {
  readonly knock?: Knock;
  readonly spare?: number;
  readonly before?: readonly string[];
}

const startAttempt = (what: 'connect' | 'listen', how: How = {}) =>
  start(
    lab.client,
    [
      ...(how.before ?? []),
      PYTHON,
      '-c',
      ATTEMPT,
      what,
      lab.client.addresses.ipv4,
      String(PORT),
      String(how.spare ?? PLENTY),
    ],
    { knock: how.knock ?? knock },
  );
const attempt = (...how: Parameters<typeof startAttempt>) => finish(startAttempt(...how));
const WELL = { stdout: 'asking\nok\n', stderr: '' };
const FAILED = 'asking\nEPROTONOSUPPORT\n';

const hooked = () => [inside(lab.server, ['tc', 'qdisc', 'show']), ...filtersOn(lab.server)];

describe('kernel memory', () => {
  test.each(['1+', '5+', '12+', '20+'])(
    'that BPF can not have at start (%s) ends the start',
    async (when) => {
      const before = hooked();
      const strace = [
        'strace',
        '-f',
        '-qqq',
        '-o',
        '/dev/null',
        '-e',
        'trace=bpf',
        '-e',
        `inject=bpf:error=ENOMEM:when=${when}`,
      ];
      const outcome = await run(lab.server, controlCommand(`${lab.directory}/starved.sock`, strace), {
        timeout: 25_000,
      });
      expect(outcome.status).toBe(1);
      expect(outcome.stderr).toMatch(/^knockify control: .*ENOMEM/);
      expect(hooked()).toEqual(before);
      expect(existsSync(`${lab.directory}/starved.sock`)).toBe(false);
    },
  );

  test.each(['connect', 'listen'] as const)('that BPF can not have later fails %s alone', async (what) => {
    const { relieve } = await afflict(control, 'bpf', 'error=ENOMEM');
    const { result, packets } = await capturing(lab, () => attempt(what));
    await relieve();
    expect(packets).toEqual([]);
    expect(result.stdout).toBe(FAILED);
    expect(result.stderr).toMatch(/^knockify: .*ENOMEM[^\n]*\n$/);
    expect(await attempt('listen')).toMatchObject(WELL);
  });
});

describe('descriptors', () => {
  test('of the control process: who comes meanwhile waits, and is served', async () => {
    const open = () => readdirSync(`/proc/${control.program.pid}/fd`).length;
    // It keeps the guard of a secret.
    expect(await attempt('listen')).toMatchObject(WELL);
    const before = open();
    inside(lab.client, ['prlimit', `--nofile=${before + 8}`, '--pid', String(control.program.pid)]);
    const hold =
      'import socket, sys, time\nheld = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(40)]\nfor s in held: s.connect(sys.argv[1])\nprint("held", flush=True)\ntime.sleep(60)';
    const holder = start(lab.client, [PYTHON, '-c', hold, control.socket]);
    await untilSays(holder, 'held');
    await untilSays(control.program, 'EMFILE');
    const listening = startAttempt('listen');
    await untilSays(listening, 'asking');
    await sleep(300);
    expect(listening.isRunning()).toBe(true);
    await stop(holder, 'SIGKILL');
    expect(await finish(listening)).toMatchObject(WELL);
    await until('all of them to be closed', () => open() <= before);
  });

  test.each(['connect', 'listen'] as const)('of the program: %s fails', async (what) => {
    const { result, packets } = await capturing(lab, () => attempt(what, { spare: 0 }));
    expect(packets).toEqual([]);
    expect(result.stdout).toBe(FAILED);
    expect(result.stderr).toMatch(/^knockify: .*Too many open files[^\n]*\n$/);
  });
});

describe('space for what is logged', () => {
  const logging = (host: Host, command: readonly string[], where: string) =>
    start(host, ['bash', '-c', `exec "$@" 2>${where}`, 'bash', ...command], {
      env: { KNOCK_SECRET: SECRET, KNOCK_LOGLVL: '3' },
    });

  test.each([
    ...['/dev/full', ' >(true)'].flatMap((where) => [
      { where, format: 'text' },
      { where, format: 'json' },
    ]),
  ])('the control process goes on with its log at $where, as $format', async ({ where, format }) => {
    const socket = `${lab.directory}/mute.sock`;
    const program = logging(lab.client, [...controlCommand(socket), '--log-format', format], where);
    await until('its socket', () => existsSync(socket));
    const mute = { control: socket, secret: SECRET };
    for (let turn = 0; turn < 3; turn++) {
      expect(await attempt('listen', { knock: mute })).toMatchObject(WELL);
    }
    expect(program.isRunning()).toBe(true);
    expect(await stop(program)).toMatchObject({ status: 0 });
  });

  test('the program hears of a failure by errno all the same', async () => {
    await control.stop();
    const before = ['bash', '-c', 'exec "$@" 2>/dev/full', 'bash'];
    expect(await attempt('listen', { before })).toMatchObject({ stdout: FAILED });
  });
});
