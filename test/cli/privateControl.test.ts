import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Outcome, PYTHON, run, stop, until, untilSays } from '../lab/program.ts';
import { Launches } from './launches.ts';

const CURL_COULD_NOT_CONNECT = 7;
/** With a delayed connect, the refusal comes back from the first write. */
const CURL_WAS_RESET = 56;

let launches: Launches;

beforeAll(async () => {
  launches = await Launches.open();
});

afterAll(() => launches?.close());

describe('a control process for one command', () => {
  it('is there for the command alone, and gone behind it', async () => {
    const { status, stdout } = await launches.alone([
      '--',
      'sh',
      '-c',
      'stat -c %a%u $(dirname $KNOCK_CONTROL); echo $KNOCK_CONTROL',
    ]).ended;
    const [rights, socket = ''] = stdout.split('\n');
    expect(status).toBe(0);
    expect(rights).toBe('7000');
    expect(dirname(dirname(socket))).toBe(launches.temporary);
    await launches.nothingIsLeft();
  });

  it('goes when the command dies of a signal', async () => {
    expect(await launches.alone(['--', 'sh', '-c', 'kill -9 $$']).ended).toMatchObject({ signal: 'SIGKILL' });
    await launches.nothingIsLeft();
  });

  it('goes when a signal comes before the command has started', async () => {
    const program = launches.alone(['--', 'sleep', '60']);
    await until('the directory is there', () => launches.leftovers().length > 0);
    program.child.kill('SIGTERM');
    expect(await program.ended).toMatchObject({ signal: 'SIGTERM' });
    await launches.nothingIsLeft();
  });

  it('goes when the launcher is killed', async () => {
    const program = launches.alone(['--', 'sh', '-c', 'echo ready; exec sleep 5']);
    await untilSays(program, 'ready');
    program.child.kill('SIGKILL');
    await launches.nothingIsLeft();
  });

  it('is missed aloud when it dies first', async () => {
    const program = launches.alone(['--', 'sh', '-c', 'echo ready; exec sleep 20']);
    await untilSays(program, 'ready');
    for (const pid of launches.controlProcesses()) process.kill(pid, 'SIGKILL');
    await untilSays(program, 'the private control process has ended');
    program.child.kill('SIGTERM');
    await program.ended;
    await launches.nothingIsLeft();
  });

  it('survives the Ctrl-C of a command that goes on', async () => {
    const script = 'trap "" INT; echo ready; sleep 3; test -S $KNOCK_CONTROL && echo there';
    // A session of its own, so that its process group holds nothing else.
    const program = launches.alone(['--', 'sh', '-c', script], { before: ['setsid'] });
    await untilSays(program, 'ready');
    process.kill(-program.pid, 'SIGINT');
    expect(await program.ended).toMatchObject({ status: 0, stdout: 'ready\nthere\n', stderr: '' });
    await launches.nothingIsLeft();
  });
});

describe('from end to end', () => {
  const address = () => launches.lab.server.addresses.ipv4;
  const url = () => `http://${address()}:8000/page`;
  const fetched = (outcome: Outcome) => [outcome.status, outcome.stdout];

  it.each([0, 16])('hides a server and reaches it, protecting %i bytes', async (length) => {
    const options = [
      '--secret-file',
      launches.shop.script('shared', 'known to both', 0o600),
      '--intlen',
      String(length),
    ];
    writeFileSync(launches.shop.path('page'), 'hidden');
    const web = [
      PYTHON,
      '-m',
      'http.server',
      '--directory',
      launches.shop.directory,
      '--bind',
      address(),
      '8000',
    ];
    const server = launches.alone([...options, '--', ...web]);
    try {
      await until('a listener', () => listens(), 15_000);
      expect(await run(launches.lab.client, ['curl', '-sS', url()])).toMatchObject({
        status: CURL_COULD_NOT_CONNECT,
      });
      const reached = await launches.served([...options, '--', 'curl', '-sS', url()]);
      expect(fetched(reached), reached.stderr).toEqual([0, 'hidden']);
      const stranger = await launches.served(['--intlen', String(length), '--', 'curl', '-sS', url()]);
      expect([CURL_COULD_NOT_CONNECT, CURL_WAS_RESET]).toContain(stranger.status);
    } finally {
      await stop(server);
    }
    await launches.nothingIsLeft();
  });

  const listens = () =>
    execFileSync('ip', ['netns', 'exec', launches.lab.server.namespace, 'ss', '-Htln', 'sport = :8000'])
      .length > 0;
});
