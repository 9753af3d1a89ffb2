import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from './capture.ts';
import { startLighttpd } from './lighttpd.ts';
import { setSysctl } from './netns.ts';
import { syns } from './packets.ts';
import {
  knockEnvironment,
  type Program,
  PYTHON,
  REPOSITORY,
  run,
  start,
  stop,
  until,
  untilSays,
} from './program.ts';
import { MODES, openStealthLab, PROTECTED_LENGTH, portOf, type StealthLab } from './stealthlab.ts';

/** Ways around the guard, and around the delay, that a program may take without meaning to. */

const HOLES = join(REPOSITORY, 'test/programs/holes.py');
const PORT = 8401;
const ASK = `
import socket, sys
fd = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
fd.sendall(b"0123456789012345678901234567890123456789")
print(fd.recv(6).decode())
`;

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
  await Promise.all(
    MODES.map((mode) =>
      startLighttpd(stealth.lab, {
        family: 'ipv4',
        port: portOf('ipv4', mode),
        knock: stealth.knock(stealth.server, mode),
      }),
    ),
  );
});
afterAll(() => stealth?.close());

async function serve(scenario: string, mode: (typeof MODES)[number]): Promise<Program> {
  const { server } = stealth;
  const command = [PYTHON, HOLES, scenario, server.addresses.ipv4, String(PORT)];
  const program = start(server, command, { knock: stealth.knock(server, mode) });
  // Some have listened once before they serve.
  await untilSays(program, 'serving');
  return program;
}

/** `intlen` undefined: without the library. */
function ask(intlen: number | undefined) {
  const { client, server } = stealth;
  const knock = intlen === undefined ? undefined : { ...stealth.knock(client), intlen };
  return run(client, [PYTHON, '-c', ASK, server.addresses.ipv4, String(PORT)], { knock });
}

test.each(MODES)('%s: a listener that was shut down and listens again is guarded again', async (mode) => {
  const program = await serve('reopened', mode);
  expect((await ask(undefined)).stderr).toContain('ConnectionRefusedError');
  expect((await ask(mode === 'auth' ? 0 : PROTECTED_LENGTH)).stdout).toBe('served\n');
  await stop(program);
});

test.each(MODES)(
  '%s: a listener keeps its guard, whatever the program sets that it came to',
  async (mode) => {
    const program = await serve('ungrouped', mode);
    expect((await ask(undefined)).stderr).toContain('ConnectionRefusedError');
    await stop(program);
  },
);

const SHARED = ['exec', 'exec-100', 'exec-1000', 'forked', 'forked-before', 'cloned', 'copied', 'passed'];
test.each(SHARED)('%s: the connections of a shared listener are inspected', async (scenario) => {
  const program = await serve(scenario, 'integrity');
  expect((await ask(PROTECTED_LENGTH)).stdout).toBe('served\n');
  const wrong = await ask(PROTECTED_LENGTH - 1);
  expect(wrong.stdout).toBe('');
  expect(wrong.stderr).toContain('ConnectionResetError');
  await stop(program);
});

describe.each(MODES)('%s', (mode) => {
  test.each(['read-recv', 'read-poll', 'read-select'])(
    '%s: a thread waits before another writes',
    async (scenario) => {
      const { client, server } = stealth;
      const command = [PYTHON, HOLES, scenario, server.addresses.ipv4, String(portOf('ipv4', mode))];
      const outcome = await run(client, command, { knock: stealth.knock(client, mode) });
      expect(outcome).toMatchObject({ status: 0, stderr: '', stdout: 'HTTP/1.0 200\n' });
    },
  );
});

/** Which connect(2) of the program is the first to the server: those before are to the control process. */
const REAL_CONNECT = { auth: 2, integrity: 3 } as const;

const PENDING = `
import errno, socket, sys
fd = socket.socket()
fd.setblocking(False)
print(errno.errorcode[fd.connect_ex((sys.argv[1], int(sys.argv[2])))])
`;

test('a SYN that is held back fails a connect that does not wait for it', async () => {
  const { client, server, lab } = stealth;
  const trace = join(lab.directory, 'trace-pending');
  const knock = knockEnvironment(stealth.knock(client));
  const command = [
    ...['strace', '-f', '-o', trace, '-e', 'trace=connect'],
    ...['-e', 'inject=connect:delay_enter=6000000:when=2'],
    ...Object.entries(knock).flatMap(([name, value]) => ['-E', `${name}=${value}`]),
    ...[PYTHON, '-c', PENDING, server.addresses.ipv4, String(portOf('ipv4', 'auth'))],
  ];
  const { result, packets } = await capturing(lab, async () => {
    const program = start(client, command);
    try {
      await until(
        'the armed connect',
        () => existsSync(trace) && /sin_port/.test(readFileSync(trace, 'utf8')),
      );
      setSysctl(client, 'net.ipv4.tcp_timestamps', 0);
      await program.ended;
    } finally {
      setSysctl(client, 'net.ipv4.tcp_timestamps', 1);
    }
    return program;
  });
  expect(result.stdout()).toBe('EPROTONOSUPPORT\n');
  expect(syns(packets)).toHaveLength(0);
});

const LEFT = `
import os, socket, subprocess, sys
def connected():
    fd = socket.socket()
    fd.bind(("0.0.0.0", 40123))
    fd.settimeout(20)
    fd.connect((sys.argv[1], int(sys.argv[2])))
    return fd
def say(*command):
    subprocess.run(command, env={"PATH": os.environ["PATH"]}, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
fd = connected()
say("ip", "link", "set", sys.argv[3], "down")
say("ss", "-K", "sport", "=", "40123")
fd.close()
say("ip", "link", "set", sys.argv[3], "up")
connected()
print("connected")
`;

test('a server that still knows an earlier connection between the same ports is told that it is over', async () => {
  const { client, server } = stealth;
  const command = [PYTHON, '-c', LEFT, server.addresses.ipv4, String(portOf('ipv4', 'auth')), client.device];
  const outcome = await run(client, command, { knock: stealth.knock(client), timeout: 30_000 });
  expect(outcome).toMatchObject({ status: 0, stderr: '', stdout: 'connected\n' });
});

test.each(MODES)('%s: another connection takes the port between arming and connecting', async (mode) => {
  const { client, lab } = stealth;
  const trace = join(lab.directory, `trace-${mode}`);
  const program = join(lab.directory, 'contexts');
  execFileSync('gcc', ['-w', '-pthread', join(REPOSITORY, 'test/programs/contexts.c'), '-o', program]);
  const knock = knockEnvironment(stealth.knock(client, mode));
  const command = [
    ...['strace', '-f', '-o', trace, '-e', 'trace=connect'],
    ...['-e', `inject=connect:error=EADDRNOTAVAIL:when=${REAL_CONNECT[mode]}`],
    ...Object.entries(knock).flatMap(([name, value]) => ['-E', `${name}=${value}`]),
    ...[program, 'main', String(portOf('ipv4', mode)), trace],
  ];
  const { result, packets } = await capturing(lab, () => run(client, command));
  expect(readFileSync(trace, 'utf8')).toMatch(/sin_port.*EADDRNOTAVAIL.*INJECTED/);
  expect(result).toMatchObject({ status: 0, stdout: '200\n', stderr: '' });
  expect(syns(packets)).toHaveLength(1);
});
