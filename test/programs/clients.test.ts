import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PAGE, startLighttpd, urlOf } from '../lab/lighttpd.ts';
import { type Program, PYTHON, REPOSITORY, run, start, until, untilListening } from '../lab/program.ts';
import { KINDS, openStealthLab, type StealthLab } from '../lab/stealthlab.ts';

/** Real programs in every family of addresses; many more are in the table of pairs.test.ts. */

const TRANSFER = `${REPOSITORY}/test/programs/transfer.py`;
const TRANSFER_PORT_OFFSET = 5;
const BYTES = 10_000_000;

let stealth: StealthLab;
const transferServers = new Map<number, Program>();

beforeAll(async () => {
  stealth = await openStealthLab();
  const { lab, server } = stealth;
  await Promise.all(
    KINDS.map(({ family, mode, port }) =>
      startLighttpd(lab, { family, port, knock: stealth.knock(server, mode) }),
    ),
  );
  for (const { family, mode, port } of KINDS) {
    const own = port + TRANSFER_PORT_OFFSET;
    const address = family === 'mapped' ? '::' : server.addresses[family];
    const program = start(server, [PYTHON, '-u', TRANSFER, 'serve', address, String(own)], {
      knock: stealth.knock(server, mode),
    });
    transferServers.set(port, program);
    await untilListening(program, own);
  }
});
afterAll(() => stealth?.close());

describe.each(KINDS)('$family, $mode', ({ family, mode, port }) => {
  test('curl gets the page', async () => {
    const knock = stealth.knock(stealth.client, mode);
    const command = ['curl', '-sS', '-m', '10', urlOf(stealth.server, family, port)];
    expect(await run(stealth.client, command, { knock })).toMatchObject({
      status: 0,
      stdout: PAGE,
      stderr: '',
    });
  });

  test('10 MB both ways arrive intact', async () => {
    const { client, server } = stealth;
    const own = port + TRANSFER_PORT_OFFSET;
    const program = transferServers.get(port);
    const outcome = await run(
      client,
      [PYTHON, TRANSFER, 'fetch', server.addresses[family], String(own), String(BYTES)],
      { knock: stealth.knock(client, mode) },
    );
    expect(outcome).toMatchObject({ status: 0, stderr: '' });
    await until('the server to tell', () => program?.stdout().includes('\n') ?? false);
    const sent = JSON.parse(outcome.stdout);
    const got = JSON.parse(program?.stdout() ?? '');
    expect(got).toEqual({ sent: sent.got, got: sent.sent });
  });

  test('many connections at once', async () => {
    const { client } = stealth;
    const url = urlOf(stealth.server, family, port);
    const outcome = await run(
      client,
      ['curl', '-sS', '-m', '15', '--parallel', '--parallel-immediate', ...Array<string>(20).fill(url)],
      { knock: stealth.knock(client, mode), timeout: 20_000 },
    );
    expect(outcome).toMatchObject({ status: 0, stdout: PAGE.repeat(20) });
    // curl shows its progress, whatever it is told.
    expect(outcome.stderr).not.toContain('knockify');
  });
});

test('non-TCP sockets, files and pipes are left alone', async () => {
  const program = [
    'import os, socket, subprocess, tempfile',
    'a, b = socket.socketpair(); a.send(b"x"); assert b.recv(1) == b"x"',
    'u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0))',
    'v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v.connect(u.getsockname()); v.send(b"y"); assert u.recv(1) == b"y"',
    'f = tempfile.TemporaryFile(); os.write(f.fileno(), b"z"); os.lseek(f.fileno(), 0, 0); assert os.read(f.fileno(), 1) == b"z"',
    'assert subprocess.run(["cat"], input=b"pipe", capture_output=True).stdout == b"pipe"',
    'print("well")',
  ].join('\n');
  const outcome = await run(stealth.client, [PYTHON, '-c', program], {
    knock: stealth.knock(stealth.client),
  });
  expect(outcome).toMatchObject({ status: 0, stdout: 'well\n', stderr: '' });
});
