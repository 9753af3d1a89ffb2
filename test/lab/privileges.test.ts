import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ListenerStatus } from '../../ts/spec/status.ts';
import { sayTo, startAcceptor } from './acceptor.ts';
import { type Control, controlCommand, KNOCKIFY, startControl, statusOf } from './control.ts';
import { knockFilters } from './filters.ts';
import { inside, type Lab, openLab } from './netns.ts';
import { type Knock, LIBRARY, type Program, PYTHON, run, start, stop, until, untilSays } from './program.ts';
import { patient } from './slowness.ts';
import { MODES, type Mode, PROTECTED_LENGTH, SECRET } from './stealthlab.ts';

/** The control process as an ordinary user with two capabilities, started and restarted by a service manager. */

const MANAGER = fileURLToPath(new URL('manager.py', import.meta.url));
const MEMORY = fileURLToPath(new URL('memory.py', import.meta.url));
const REQUEST = 'what the client says first, and more';
const NOBODY = 65534;
const CAPABILITIES = ['net_admin', 'bpf'] as const;
const PORTS: Readonly<Record<Mode, number>> = { auth: 8600, integrity: 8601 };

const list = ['-all', ...CAPABILITIES.map((name) => `+${name}`)].join(',');
const UNPRIVILEGED = [
  ...['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'],
  ...[`--inh-caps=${list}`, `--ambient-caps=${list}`, `--bounding-set=${list}`],
];
/** CAP_NET_ADMIN is bit 12, CAP_BPF bit 39 (linux/capability.h). */
const TWO_CAPABILITIES = ((1n << 12n) | (1n << 39n)).toString(16).padStart(16, '0');

/** Uses the library without LD_PRELOAD. */
const LINKED = `
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
int main(void)
{
    int failed = listen(socket(AF_INET, SOCK_STREAM, 0), 1);
    printf("%s, secure %lu\\n", failed ? strerror(errno) : "listens", getauxval(AT_SECURE));
    return 0;
}
`;

let lab: Lab;
let client: Control;
let manager: Program;
let socket: string;

beforeAll(async () => {
  lab = openLab();
  client = await startControl(lab, lab.client);
  socket = `${lab.directory}/activated.sock`;
  inside(lab.server, ['chmod', '755', lab.directory]);
  manager = start(lab.server, [PYTHON, MANAGER, socket, ...controlCommand('/nonexistent', UNPRIVILEGED)]);
  await untilSays(manager, 'READY=1', 20_000);
});
afterAll(() => lab?.close());

const service = () =>
  Number(
    manager
      .stdout()
      .match(/^started (\d+)$/gm)
      ?.at(-1)
      ?.split(' ')[1],
  );
const readied = () => manager.stdout().match(/^READY=1/gm)?.length ?? 0;

function status(field: string): string | undefined {
  return new RegExp(`^${field}:\\s*(\\S+)`, 'm').exec(
    readFileSync(`/proc/${service()}/status`, 'latin1'),
  )?.[1];
}

const knock = (control: string, mode: Mode, secret = SECRET): Knock => ({
  control,
  secret,
  intlen: mode === 'integrity' ? PROTECTED_LENGTH : undefined,
});

async function exchange(mode: Mode, secret = SECRET): Promise<string> {
  const outcome = await sayTo(lab, PORTS[mode], REQUEST, knock(client.socket, mode, secret));
  return outcome.status === 0 ? outcome.stdout : `curl: ${outcome.status}`;
}

async function guarded(): Promise<readonly ListenerStatus[]> {
  return (await statusOf(lab.server, { socket })).listeners;
}

test('has no more privileges than it needs, and nobody of its user can look into it', () => {
  for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapInh', 'CapAmb'])
    expect([set, status(set)]).toEqual([set, TWO_CAPABILITIES]);
  expect(status('Uid')).toBe(String(NOBODY));
  expect(status('NoNewPrivs')).toBe('1');
  expect(readFileSync(`/proc/${service()}/limits`, 'latin1')).toMatch(/^Max core file size\s+0\s+0\s/m);
});

test('is all that the doctor asks for', async () => {
  const doctor = [process.execPath, KNOCKIFY, 'doctor'];
  const env = { KNOCK_CONTROL: socket, KNOCK_SECRET: SECRET };
  const outcome = await run(lab.server, [...UNPRIVILEGED, ...doctor], { env });
  expect(outcome.status, outcome.stdout).toBe(0);
  expect(outcome.stdout).toContain(
    `capabilities: user ${NOBODY} with CAP_NET_ADMIN and CAP_BPF, and no others`,
  );
  expect((await run(lab.server, doctor, { env })).stdout).toMatch(
    /user 0 with .* and \d+ others that are not needed/,
  );
});

test('is closed to other processes of its user, even with its capabilities', async () => {
  const look = (pid: number) => run(lab.server, [...UNPRIVILEGED, 'cat', `/proc/${pid}/environ`]);
  expect(await look(service())).toMatchObject({ status: 1, stdout: '' });
  const other = start(lab.server, [...UNPRIVILEGED, 'sleep', '60']);
  // Not of what was to be shown: one that has not been hardened is open to them.
  await until('the other program', () => readFileSync(`/proc/${other.pid}/comm`, 'latin1') === 'sleep\n');
  expect(await look(other.pid)).toMatchObject({ status: 0 });
  await stop(other);
});

test('serves the users alone that it was told to', async () => {
  const picky = await startControl(lab, lab.server, {
    arguments: ['--mode', '0666', '--allow-user', 'daemon', '--allow-user', '4711'],
  });
  const outcome = async (uid: number) => {
    const as = ['setpriv', `--reuid=${uid}`, `--regid=${NOBODY}`, '--clear-groups'];
    const listen = 'import socket; socket.create_server(("127.0.0.1", 8602)).close()';
    return run(lab.server, [...as, PYTHON, '-c', listen], { knock: knock(picky.socket, 'auth') });
  };
  for (const uid of [0, 1, 4711]) expect(await outcome(uid)).toMatchObject({ status: 0, stderr: '' });
  const refused = await outcome(4712);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain('user 4712 may not use this control process');
  expect(refused.stderr).toContain('Protocol not supported');
  await picky.stop();
});

test('under AT_SECURE the library heeds neither the environment nor the rc file', async () => {
  const source = `${lab.directory}/linked.c`;
  writeFileSync(source, LINKED);
  const build = (name: string) => {
    const program = `${lab.directory}/${name}`;
    const library = dirname(LIBRARY);
    execFileSync('gcc', [source, '-o', program, `-L${library}`, '-lknockify', `-Wl,-rpath,${library}`]);
    return program;
  };
  const home = `${lab.directory}/home`;
  mkdirSync(home);
  writeFileSync(`${home}/.knockrc`, `KNOCK_SECRET=${SECRET}\n`, { mode: 0o600 });
  chownSync(`${home}/.knockrc`, NOBODY, NOBODY);
  const as = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  const attempt = (program: string, secret: Record<string, string>) =>
    run(lab.server, [...as, program], { env: { KNOCK_CONTROL: socket, HOME: home, ...secret } });
  const ordinary = build('ordinary');
  const privileged = build('privileged');
  // A file capability makes the program AT_SECURE for whoever does not have it already.
  execFileSync('setcap', ['cap_sys_nice+ep', privileged]);
  for (const secret of [{ KNOCK_SECRET: SECRET }, {}]) {
    expect(await attempt(ordinary, secret)).toMatchObject({ stdout: 'listens, secure 0\n', stderr: '' });
    const refused = await attempt(privileged, secret);
    expect(refused.stdout).toBe('Protocol not supported, secure 1\n');
    expect(refused.stderr).toContain('no control process at /run/knockify/control.sock');
  }
});

test('names an unknown user before it starts', async () => {
  const command = [...controlCommand(`${lab.directory}/never.sock`), '--allow-user', 'no-such-user-here'];
  expect(await run(lab.server, command)).toMatchObject({
    status: 1,
    stderr: 'knockify control: --allow-user no-such-user-here: there is no such user\n',
  });
});

test('names a folder for its socket that nobody can make, and ends', async () => {
  const why = "the folder /proc/nonexistent can't be made (ENOENT)";
  expect(await run(lab.server, controlCommand('/proc/nonexistent/control.sock'))).toMatchObject({
    status: 1,
    stderr: `knockify control: ${why}; take another place, or make it first\n`,
  });
});

describe.each(MODES)('%s', (mode) => {
  test("keeps nothing of a client's secret in its memory once the connection is made", async () => {
    const secret = `found only where it was ${mode === 'auth' ? 'left' : 'kept'}`;
    const copies = async () =>
      Number((await run(lab.client, [PYTHON, MEMORY, String(client.program.pid), secret])).stdout);
    const server = await startAcceptor(lab.server, lab.server.addresses.ipv4, PORTS[mode], {
      knock: knock(socket, mode, secret),
    });
    for (let turn = 0; turn < 5; turn++) expect(await exchange(mode, secret)).toBe(REQUEST);
    // Once it has heard that the last client is gone.
    await expect.poll(copies, { timeout: patient(2_000) }).toBe(0);
    await stop(server);
  });

  test('a server goes on with its guard after each SIGKILL, and needs no restart', async () => {
    const program = await startAcceptor(lab.server, lab.server.addresses.ipv4, PORTS[mode], {
      knock: knock(socket, mode),
    });
    expect(await exchange(mode)).toBe(REQUEST);
    expect((await guarded()).map(({ syns }) => syns)).toEqual([{ authorised: 1, rejected: 0 }]);
    for (let kill = 1; kill <= 2; kill++) {
      const before = readied();
      process.kill(service(), 'SIGKILL');
      await until('the next control process', () => readied() > before, 20_000);
      expect(await exchange(mode)).toBe(REQUEST);
      expect(await exchange(mode, 'a wrong secret')).toMatch(/^curl: /);
      expect(knockFilters(lab.server)).toEqual(['knock_ingress', 'knock_egress']);
      const counts = { authorised: 1 + kill, rejected: kill };
      expect(await guarded()).toMatchObject([{ pid: program.pid, port: PORTS[mode], syns: counts }]);
    }
    expect(program.stderr()).toBe('');
    await stop(program);
  });
});
