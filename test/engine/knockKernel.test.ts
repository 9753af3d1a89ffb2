import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { padSecret } from '../../ts/stealth/secret.ts';
import { type Control, startControl } from '../lab/control.ts';
import { filtersOn } from '../lab/filters.ts';
import { urlOf } from '../lab/lighttpd.ts';
import { type Host, type Lab, openLab } from '../lab/netns.ts';
import {
  type Knock,
  type Program,
  PYTHON,
  REPOSITORY,
  run,
  start,
  stop,
  untilListening,
} from '../lab/program.ts';
import { buildStandIn, onSocketOf, preloaded, type StandIn, steps } from './standIn.ts';

/**
 * The engine for a kernel with the Knock patch, against a stand-in for such a kernel at the system-call boundary: which
 * calls it makes, in which order, with what. The kernel below is a stock one and puts no token on the wire: clients
 * here connect to a plain server, and plain clients reach the servers that a patched kernel would hide.
 */

const SECRET = 'known to both ends';
const hex = (bytes: Uint8Array | string) => Buffer.from(bytes).toString('hex');
const PADDED = hex(padSecret(Buffer.from(SECRET)));
const PROTECTED = 24;
const FAMILIES = ['ipv4', 'ipv6'] as const;
const PLAIN_PORT = 7300;
const CLOSED_PORT = 7399;
/** What takes the sequence number of an earlier connect away. */
const REPAIR = ['control REPAIR', 'control REPAIR_QUEUE', 'control QUEUE_SEQ', 'control REPAIR'];

/** A patched kernel asks for no privilege: neither stock mechanism would work without these. */
const UNPRIVILEGED = ['setpriv', '--bounding-set=-net_admin,-sys_admin,-bpf,-perfmon'];
const KINDS = [
  { choice: 'auto', rights: 'with all privileges', before: [] },
  { choice: 'knock', rights: 'without CAP_NET_ADMIN and CAP_BPF', before: UNPRIVILEGED },
] as const;

let lab: Lab;
let standIn: StandIn;

beforeAll(async () => {
  lab = openLab();
  standIn = buildStandIn(lab);
  for (const family of FAMILIES) {
    const acceptor = join(REPOSITORY, 'test/programs/acceptor.py');
    const port = PLAIN_PORT + FAMILIES.indexOf(family);
    const plain = start(lab.server, [PYTHON, acceptor, lab.server.addresses[family], String(port)]);
    await untilListening(plain, port);
  }
  for (const name of ['client', 'server'])
    execFileSync('gcc', [join(REPOSITORY, `examples/knock/${name}.c`), '-o', join(lab.directory, name)]);
});
afterAll(() => lab?.close());
beforeEach(() => standIn.clear());

describe.each(KINDS)('KNOCK_ENGINE=$choice $rights', ({ choice, before }) => {
  const privileged = before.length === 0;
  const controls = {} as Record<Host['name'], Control>;

  beforeAll(async () => {
    for (const host of [lab.client, lab.server]) {
      standIn.clear();
      controls[host.name] = await startControl(lab, host, {
        before: standIn.under('control', before),
        env: { KNOCK_ENGINE: choice },
      });
      // The first socket is the probe's. setpriv asks for nothing.
      expect(steps(standIn.calls())).toEqual(['control STEALTH']);
    }
  });
  afterAll(async () => {
    for (const control of Object.values(controls)) await control.stop();
  });

  const knock = (host: Host, intlen?: number): Knock => ({
    control: controls[host.name].socket,
    secret: SECRET,
    intlen,
  });
  const underBoth = (host: Host, name: string, command: readonly string[], intlen?: number) =>
    standIn.under(name, preloaded(knock(host, intlen), command));
  /** A program that sets the options itself brings no secret for the library. */
  const telling = (host: Host, name: string, command: readonly string[]) =>
    standIn.under(name, preloaded({ control: controls[host.name].socket }, command));

  test('is the patched kernel’s engine', async () => {
    for (const host of [lab.client, lab.server])
      expect(controls[host.name].program.stderr()).toContain('(engine knock)');
    await run(
      lab.client,
      underBoth(lab.client, 'curl', ['curl', '-sS', '-m', '5', urlOf(lab.server, 'ipv4', CLOSED_PORT)]),
    );
    const pid = standIn.calls().find(({ name }) => name === 'control')?.pid;
    const effective = /^CapEff:\s*(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    const [netAdmin, sysAdmin, bpf] = [12n, 21n, 39n].map(
      (bit) => ((BigInt(`0x${effective}`) >> bit) & 1n) === 1n,
    );
    expect({ netAdmin, sysAdmin, bpf }).toEqual({
      netAdmin: privileged,
      sysAdmin: privileged,
      bpf: privileged,
    });
  });

  describe.each(FAMILIES)('over %s', (family) => {
    const plain = PLAIN_PORT + FAMILIES.indexOf(family);
    const url = () => urlOf(lab.server, family, plain);
    const curl = (intlen?: number) =>
      run(lab.client, underBoth(lab.client, 'curl', ['curl', '-sS', '--http0.9', '-m', '5', url()], intlen));

    test('a client with authentication: the secret, then the connect', async () => {
      expect(await curl()).toMatchObject({ status: 0, stderr: '' });
      const calls = onSocketOf(standIn.calls(), 'curl', 'connect');
      expect(steps(calls)).toEqual(['control STEALTH', 'curl connect']);
      expect(calls[0]).toMatchObject({ length: 64, errno: 0, value: PADDED });
      expect(Buffer.from(calls.at(-1)?.value ?? '', 'hex').readUInt16BE(2)).toBe(plain);
    });

    const waits = async () => {
      const outcome = await curl(PROTECTED);
      expect(outcome).toMatchObject({ status: 0, stderr: '' });
      const calls = onSocketOf(standIn.calls(), 'curl', 'connect');
      expect(steps(calls)).toEqual([
        ...REPAIR,
        'control STEALTH',
        'control FASTOPEN_CONNECT',
        'control FASTOPEN_NO_COOKIE',
        'control connect',
        // Tells whoever waits for the socket that it is writable.
        'curl NOTSENT_LOWAT',
        'control disconnect',
        'control FASTOPEN_CONNECT',
        'control FASTOPEN_NO_COOKIE',
        ...REPAIR,
        'control STEALTH',
        'control INTEGRITY',
        'curl connect',
      ]);
      const numbers = calls.filter(({ option }) => option === 21);
      expect(numbers.map(({ value }) => value)).toEqual(['00000000', '00000000']);
      const [early, secret] = calls.filter(({ option }) => option === 26);
      expect(early).toMatchObject({ length: 64, errno: 0 });
      expect(early?.value).not.toBe(PADDED);
      expect(secret).toMatchObject({ length: 64, errno: 0, value: PADDED });
      // The plain server gives curl its request back.
      const request = hex(outcome.stdout.slice(0, PROTECTED));
      expect(calls.find(({ option }) => option === 27)).toMatchObject({
        length: PROTECTED,
        errno: 0,
        value: request,
      });
    };

    const refused = async () => {
      const outcome = await curl(PROTECTED);
      expect(outcome.status).toBe(7);
      expect(outcome.stderr).toMatch(/needs CAP_NET_ADMIN also on a kernel with the Knock patch/);
      expect(steps(standIn.calls())).toEqual(['control REPAIR']);
    };
    if (privileged) {
      test('a client with integrity: the connect waits for the bytes', waits);
      test('a delayed connect that fails leaves nothing behind', async () => {
        const nowhere = family === 'ipv4' ? '203.0.113.1' : '2001:db8:1::1';
        const script = `
import socket
fd = socket.socket(socket.${family === 'ipv4' ? 'AF_INET' : 'AF_INET6'})
print(fd.connect_ex(('${nowhere}', 1)))`;
        const python = underBoth(lab.client, 'python', [PYTHON, '-c', script], PROTECTED);
        expect(await run(lab.client, python)).toMatchObject({ stdout: '101\n', stderr: '' });
        const calls = onSocketOf(standIn.calls(), 'control', 'connect');
        const delaying = ['control FASTOPEN_CONNECT', 'control FASTOPEN_NO_COOKIE'];
        expect(steps(calls)).toEqual([
          ...REPAIR,
          'control STEALTH',
          ...delaying,
          'control connect',
          ...delaying,
        ]);
        expect(calls.slice(-2).map(({ value }) => value)).toEqual(['00000000', '00000000']);
      });
    } else {
      test('a client with integrity that announces nothing is told what it needs', refused);
    }

    test('a socket that connects again: its old sequence number goes first', async () => {
      const address = lab.server.addresses[family];
      const script = `
import socket
fd = socket.socket(socket.${family === 'ipv4' ? 'AF_INET' : 'AF_INET6'})
try:
    fd.connect(('${address}', ${CLOSED_PORT}))
except ConnectionRefusedError:
    fd.connect(('${address}', ${plain}))
fd.sendall(b'words')
print(fd.recv(9).decode())`;
      const outcome = await run(lab.client, underBoth(lab.client, 'python', [PYTHON, '-c', script]));
      expect(outcome).toMatchObject({ status: 0, stdout: 'words\n', stderr: '' });
      expect(steps(onSocketOf(standIn.calls(), 'python', 'connect'))).toEqual([
        'control STEALTH',
        'python connect',
        ...(privileged ? REPAIR : ['control REPAIR']),
        'control STEALTH',
        'python connect',
      ]);
    });

    describe.each([0, PROTECTED])('a server that protects %i bytes', (protectedLength) => {
      const guarded = () => {
        const calls = onSocketOf(standIn.calls(), 'server', 'listen');
        expect(steps(calls)).toEqual([
          'control STEALTH',
          ...(protectedLength > 0 ? ['control INTEGRITY_LEN'] : []),
          'server listen',
        ]);
        expect(calls[0]).toMatchObject({ length: 64, errno: 0, value: PADDED });
        if (protectedLength > 0) {
          const value = Buffer.alloc(4);
          value.writeInt32LE(protectedLength);
          expect(calls[1]).toMatchObject({ length: 4, errno: 0, value: hex(value) });
        }
      };
      const port = 7310 + protectedLength + FAMILIES.indexOf(family);
      /** A patched kernel would refuse this one, and nothing else does: no guard of the stock engine is there. */
      const askPlainly = async (program: Program) => {
        const asked = await run(lab.client, [
          'curl',
          '-sS',
          '--http0.9',
          '-m',
          '5',
          urlOf(lab.server, family, port),
        ]);
        await stop(program);
        expect(asked).toMatchObject({ status: 0, stderr: '' });
        expect(program.stderr()).toBe('');
      };

      test('under the library: the secret and the length, then the listen', async () => {
        const server = [
          PYTHON,
          join(REPOSITORY, 'test/programs/acceptor.py'),
          lab.server.addresses[family],
          String(port),
        ];
        const program = start(lab.server, underBoth(lab.server, 'server', server, protectedLength));
        await untilListening(program, port);
        guarded();
        await askPlainly(program);
      });

      test('that sets the options itself', async () => {
        const length = protectedLength > 0 ? [String(protectedLength)] : [];
        const server = [
          join(lab.directory, 'server'),
          lab.server.addresses[family],
          String(port),
          SECRET,
          ...length,
        ];
        const program = start(lab.server, telling(lab.server, 'server', server));
        await untilListening(program, port);
        guarded();
        await askPlainly(program);
      });
    });

    test.each([
      { kind: 'authentication', protect: [] },
      { kind: 'integrity', protect: ['protect'] },
    ])('a client that sets the options itself, $kind', async ({ protect }) => {
      const words = 'words that go first';
      const address = lab.server.addresses[family];
      const client = [join(lab.directory, 'client'), address, String(plain), SECRET, words, ...protect];
      const outcome = await run(lab.client, telling(lab.client, 'client', client));
      expect(outcome).toMatchObject({ status: 0, stdout: words, stderr: '' });
      const calls = onSocketOf(standIn.calls(), 'client', 'connect');
      const integrity = protect.length > 0 ? ['control INTEGRITY'] : [];
      expect(steps(calls)).toEqual(['control STEALTH', ...integrity, 'client connect']);
      expect(calls[0]).toMatchObject({ length: 64, errno: 0, value: PADDED });
      if (protect.length > 0)
        expect(calls[1]).toMatchObject({ length: words.length, errno: 0, value: hex(words) });
    });
  });

  // What was asked for by the way would be missing from the tables of one socket's calls.
  afterEach(() => expect(standIn.calls().filter(({ call }) => call === 'bpf')).toEqual([]));

  test('no tc filter is there', () => {
    for (const host of [lab.client, lab.server])
      for (const device of ['lo', host.device]) expect(filtersOn(host, device)).toEqual([]);
  });
});
