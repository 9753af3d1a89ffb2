import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LIBRARY, PYTHON, run, start, until, untilSays } from '../lab/program.ts';
import { EMPTY_MAIN } from './compiled.ts';
import { Launches, RUN } from './launches.ts';
import { ORDINARY_USER } from './ordinaryUser.ts';

let launches: Launches;

beforeAll(async () => {
  launches = await Launches.open();
});

afterAll(() => launches?.close());

describe('what the command gets', () => {
  it('has its arguments, streams and exit status', async () => {
    const script = 'read line; echo "$line, $1"; echo complaint >&2; exit 7';
    const command = [...RUN, '--', 'sh', '-c', script, 'sh', '--help'];
    const env = launches.env;
    const outcome = await run(launches.lab.client, command, { env, input: 'hello\n' });
    expect(outcome).toMatchObject({ status: 7, stdout: 'hello, --help\n', stderr: 'complaint\n' });
  });

  it('may leave the -- out', async () => {
    expect(await launches.served(['sh', '-c', 'echo "$0" "$1"', 'one', '--targets'])).toMatchObject({
      status: 0,
      stdout: 'one --targets\n',
    });
  });

  it('has the settings in its environment, the library in front', async () => {
    const secret = launches.shop.script('secret', 'from a file', 0o600);
    const other = launches.shop.compile('other.so', 'int other;', ['-shared', '-fPIC']);
    const options = ['--secret-file', secret, '--intlen', '12', '--targets', ':80,192.0.2.0/24'];
    const env = { KNOCK_INT_LEN: '3', LD_PRELOAD: other };
    const { stdout } = await launches.served([...options, '--', 'env'], { env });
    const lines = stdout.split('\n').filter((line) => /^(KNOCK_|LD_)/.test(line));
    expect(lines.sort()).toEqual([
      `KNOCK_CONTROL=${launches.control.socket}`,
      'KNOCK_INTLEN=12',
      `KNOCK_SECRET=f:${secret}`,
      'KNOCK_TARGETS=:80,192.0.2.0/24',
      `LD_PRELOAD=${LIBRARY}:${other}`,
    ]);
  });

  it('gets a secret that is not UTF-8 unharmed', async () => {
    const script = `KNOCK_SECRET=$(printf 'a\\377b') exec "$@"`;
    const outcome = await launches.served(['--', 'sh', '-c', 'echo $KNOCK_SECRET'], {
      before: ['sh', '-c', script, 'sh'],
    });
    expect(outcome.stdout).toBe(`h:61ff62${'00'.repeat(61)}\n`);
  });

  it('is called by the name that was given', async () => {
    expect((await launches.served(['--', 'sh', '-c', 'cat /proc/$$/cmdline'])).stdout).toMatch(/^sh\0/);
  });
});

describe('signals', () => {
  it.each(['TERM', 'KILL', 'PIPE', 'USR1', 'INT', 'HUP'])(
    'dies as the command did, of SIG%s',
    async (name) => {
      expect(await launches.served(['--', 'sh', '-c', `kill -${name} $$`])).toMatchObject({
        signal: `SIG${name}`,
      });
    },
  );

  it.each(['TERM', 'INT', 'HUP', 'QUIT', 'USR1', 'USR2', 'WINCH'] as const)(
    'hands SIG%s on',
    async (name) => {
      const script = `trap 'echo got; exit 5' ${name}; echo ready; while :; do sleep 0.05; done`;
      const program = start(launches.lab.client, ['setsid', ...RUN, '--', 'sh', '-c', script], {
        env: launches.env,
      });
      await untilSays(program, 'ready');
      program.child.kill(`SIG${name}`);
      expect(await program.ended).toMatchObject({ status: 5, stdout: 'ready\ngot\n' });
    },
  );

  it('stops and goes on with the command', async () => {
    const script = `trap 'echo told to stop' TSTP; trap 'echo goes on; exit 5' CONT; echo ready; while :; do sleep 0.05; done`;
    const program = start(launches.lab.client, ['setsid', ...RUN, '--', 'sh', '-c', script], {
      env: launches.env,
    });
    await untilSays(program, 'ready');
    program.child.kill('SIGTSTP');
    await untilSays(program, 'told to stop');
    await until('the launcher stops', () => / T /.test(readFileSync(`/proc/${program.pid}/stat`, 'latin1')));
    program.child.kill('SIGCONT');
    expect(await program.ended).toMatchObject({ status: 5, stdout: 'ready\ntold to stop\ngoes on\n' });
  });

  it("does not double a terminal's Ctrl-C", async () => {
    const counter = `
import signal, sys, time
count = 0
def more(*_):
    global count
    count += 1
signal.signal(signal.SIGINT, more)
print('ready', flush=True)
while count == 0: time.sleep(0.02)
time.sleep(0.3)
print('interrupts:', count, flush=True)`;
    const typist = `
import os, pty, sys
child, terminal = pty.fork()
if child == 0: os.execvp(sys.argv[1], sys.argv[1:])
said = b''
while b'ready' not in said: said += os.read(terminal, 1000)
os.write(terminal, b'\\x03')
try:
    while True:
        more = os.read(terminal, 1000)
        if not more: break
        said += more
except OSError: pass
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))`;
    const outcome = await launches.served(['--', PYTHON, '-c', counter], { before: [PYTHON, '-c', typist] });
    expect(outcome.stdout).toContain('interrupts: 1');
    expect(outcome.status).toBe(0);
  });
});

describe('refusals', () => {
  const mark = () => launches.shop.path('marker');
  const cases: readonly [string, () => readonly string[], number, string][] = [
    [
      'a command that is not there',
      () => ['--', 'no-such-program'],
      127,
      'no-such-program: not found in PATH',
    ],
    ['no command', () => [], 2, "missing required argument 'cmd'"],
    ['an unknown option', () => ['--nothing', '--', 'true'], 2, "unknown option '--nothing'"],
    ['a length out of range', () => ['--intlen', '1025', '--', 'true'], 2, 'a whole number from 0 to 1024'],
    ['a malformed target', () => ['--targets', ':80,host:1', '--', 'true'], 2, 'target 2: it has'],
    ['an empty target', () => ['--targets', '', '--', 'true'], 2, 'it is empty'],
    [
      'a secret file that is not there',
      () => ['--secret-file', '/nonexistent', '--', 'true'],
      2,
      "can't read /nonexistent",
    ],
    [
      'an empty secret file',
      () => ['--secret-file', '/dev/null', '--', 'true'],
      2,
      '--secret-file /dev/null',
    ],
    [
      'a file that is not executable',
      () => ['--', launches.shop.script('text', '', 0o644)],
      126,
      'not executable',
    ],
    [
      'a static program',
      () => ['--', launches.shop.compile('static', EMPTY_MAIN, ['-static'])],
      126,
      'static',
    ],
  ];

  it.each(cases)('refuses %s before anything starts', (_, args, status, text) => {
    // Not in a namespace: nothing of this gets as far as a control process.
    const [node = '', ...command] = [...RUN, ...args()];
    const { PATH = '' } = process.env;
    const env = { PATH, HOME: '/nonexistent', KNOCK_SECRET: 'any', TMPDIR: launches.temporary };
    const outcome = spawnSync(node, command, { env, encoding: 'utf8' });
    expect(outcome.stderr).toMatch(/^knockify run: /);
    expect(outcome.stderr).toContain(text);
    expect(outcome.status).toBe(status);
    expect(launches.leftovers()).toEqual([]);
  });

  it('refuses settings in the environment that the control process would refuse', async () => {
    const outcome = await launches.served(['--', 'touch', mark()], { env: { KNOCK_INTLEN: 'many' } });
    expect(outcome).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('KNOCK_INTLEN=many (environment)'),
    });
    expect(existsSync(mark())).toBe(false);
  });

  it('refuses to start a control process that nobody gave a secret', async () => {
    const command = ['env', '-u', 'KNOCK_SECRET', ...RUN, '--', 'touch', mark()];
    const outcome = await run(launches.lab.server, command, { env: { TMPDIR: launches.temporary } });
    expect(outcome).toMatchObject({ status: 2, stderr: expect.stringContaining('there is no secret') });
    expect(existsSync(mark())).toBe(false);
  });

  it('takes a control process for granted to have a secret', async () => {
    const command = ['env', '-u', 'KNOCK_SECRET', ...RUN, '--', 'true'];
    expect(
      await run(launches.lab.client, command, { env: { KNOCK_CONTROL: launches.control.socket } }),
    ).toMatchObject({
      status: 0,
    });
  });

  it('refuses a program with file capabilities that the user lacks', async () => {
    const file = launches.shop.path('capable');
    copyFileSync('/usr/bin/true', file);
    execFileSync('/usr/sbin/setcap', ['cap_net_raw+ep', file]);
    // access(2) leaves out the capability by which this user reads everything.
    chmodSync(launches.shop.directory, 0o755);
    const outcome = await launches.served(['--', file], { before: ORDINARY_USER });
    expect(outcome).toMatchObject({ status: 126, stderr: expect.stringContaining('file capabilities') });
  });

  it('starts nothing where no control process can start, and says why', async () => {
    const TMPDIR = join(launches.shop.directory, 'open');
    mkdirSync(TMPDIR, { recursive: true });
    chmodSync(TMPDIR, 0o1777);
    const outcome = await launches.alone(['--', 'touch', mark()], { before: ORDINARY_USER, env: { TMPDIR } })
      .ended;
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toContain("the control process can't start, so the command is not started either");
    expect(outcome.stderr).toContain('CAP_NET_ADMIN');
    expect(existsSync(mark())).toBe(false);
    expect(readdirSync(TMPDIR)).toEqual([]);
  });

  it("does not take its own where there is one that this user can't use", async () => {
    const outcome = await launches.served(['--', 'true'], { before: ORDINARY_USER });
    expect(outcome).toMatchObject({ status: 1, stderr: expect.stringContaining("this user can't use") });
  });
});
