import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KNOCKIFY } from '../lab/control.ts';
import { type Family, inside, setSysctl } from '../lab/netns.ts';
import {
  LIBRARY,
  type Program,
  PYTHON,
  run,
  start,
  stop,
  untilListening,
  untilSays,
} from '../lab/program.ts';
import { attachRewriter, REWRITERS } from '../lab/rewriter.ts';
import { openStealthLab, SECRET, type StealthLab } from '../lab/stealthlab.ts';
import { ORDINARY_USER } from './ordinaryUser.ts';

const HIDDEN = 8000;
const PROTECTED = 8001;
const OPEN = 8002;
const NOTHING = 8009;
const CHECKS = 7777;
const PROTECTED_LENGTH = 24;
const REQUEST = 'GET / HTTP/1.0\r\nHost: server\r\n\r\n';

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
  const { server } = stealth;
  const serve = (port: number) => [PYTHON, '-m', 'http.server', '--bind', '::', String(port)];
  const knock = stealth.knock(server);
  const servers = [
    [HIDDEN, start(server, serve(HIDDEN), { knock })],
    [PROTECTED, start(server, serve(PROTECTED), { knock: { ...knock, intlen: PROTECTED_LENGTH } })],
    [OPEN, start(server, serve(OPEN))],
  ] as const;
  for (const [port, program] of servers) await untilListening(program, port);
});
afterAll(() => stealth?.close());

interface Setting {
  readonly env?: Readonly<Record<string, string>>;
  readonly before?: readonly string[];
}

/** Checks from the client; the exit status, what was said, and the JSON of it. */
async function check(args: readonly string[], { env = {}, before = [] }: Setting = {}) {
  const ours = { KNOCK_SECRET: SECRET, KNOCK_CONTROL: stealth.controls.client.socket };
  const command = [...before, process.execPath, KNOCKIFY, 'check', '--timeout', '10', ...args];
  const { status, stdout, stderr } = await run(stealth.client, command, { env: { ...ours, ...env } });
  return { status, stdout, stderr };
}

const address = (family: Family = 'ipv4') => stealth.server.addresses[family];

/** The same, with the JSON taken apart. */
async function found(port: number, more: readonly string[] = [], setting: Setting = {}) {
  const { status, stdout, stderr } = await check([address(), String(port), '--json', ...more], setting);
  if (stdout === '') throw new Error(stderr);
  return { ...(JSON.parse(stdout) as Record<string, unknown>), exit: status };
}

function nft(rules: string): () => void {
  inside(stealth.server, ['nft', rules]);
  return () => inside(stealth.server, ['nft', 'flush ruleset']);
}

const dropped = (what: string) =>
  `table inet gone { chain ${what.startsWith('tcp sport') ? 'out { type filter hook output' : 'in { type filter hook input'} priority 0; ${what} drop; }; }`;

describe('a port', () => {
  test.each(['ipv4', 'ipv6', 'mapped'] as const)('that is hidden, %s', async (family) => {
    const { status, stdout, stderr } = await check([address(family), String(HIDDEN)]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(
      /without the secret +refused, as by a closed port\n +with the secret +connected\n/,
    );
    expect(stdout).toContain('Hidden, and your secret opens it.');
  });

  test.each([
    { what: 'is hidden', port: HIDDEN, plain: 'closed', tried: 'open', exit: 0, hidden: true },
    { what: 'is open', port: OPEN, plain: 'open', tried: null, exit: 3, hidden: false },
    { what: 'is closed', port: NOTHING, plain: 'closed', tried: 'closed', exit: 4, hidden: null },
  ])('that $what, in JSON', async ({ port, plain, tried, exit, hidden }) => {
    expect(await found(port)).toMatchObject({ plain, stealth: tried, exit, status: exit, hidden });
  });

  test('that is hidden, with another secret', async () => {
    const { status, stdout } = await check([address(), String(HIDDEN)], { env: { KNOCK_SECRET: 'another' } });
    expect(status).toBe(4);
    expect(stdout.replace(/\s+/g, ' ')).toMatch(
      /Is the secret the same there\? Its fingerprint here is [0-9a-f]{4}-/,
    );
  });

  test('that a firewall drops everything for', async () => {
    const end = nft(dropped(`tcp dport ${NOTHING}`));
    try {
      expect(await found(NOTHING, ['--timeout', '1'])).toMatchObject({
        plain: 'filtered',
        stealth: 'filtered',
        exit: 4,
      });
    } finally {
      end();
    }
  });

  test('that is hidden behind a firewall that drops its refusals', async () => {
    const end = nft(dropped(`tcp sport ${HIDDEN} tcp flags rst`));
    try {
      const report = await found(HIDDEN, ['--timeout', '3']);
      expect(report).toMatchObject({ plain: 'filtered', stealth: 'open', hidden: true, exit: 0 });
      expect(report).toHaveProperty('advice.0', expect.stringContaining('A closed port would refuse'));
    } finally {
      end();
    }
  });

  test('behind something that is not transparent', async () => {
    const end = attachRewriter(stealth.lab, stealth.server, REWRITERS.sequence);
    try {
      expect(await found(HIDDEN)).toMatchObject({ plain: 'closed', stealth: 'closed', exit: 4 });
    } finally {
      end();
    }
  });

  test('where there is no way', async () => {
    const { status, stdout } = await check(['203.0.113.9', String(HIDDEN)]);
    expect(status).toBe(1);
    expect(stdout).toContain('not reachable (ENETUNREACH)');
  });
});

describe('with integrity', () => {
  const intlen = (n: number) => ['--intlen', String(n)];

  test('it says that it needs the first bytes', async () => {
    const { status, stderr } = await check([address(), String(PROTECTED), ...intlen(PROTECTED_LENGTH)]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^knockify check: KNOCK_INTLEN is 24: .*--send TEXT.*\n$/);
  });

  test('it sends them, and the port opens', async () => {
    const send = [...intlen(PROTECTED_LENGTH), '--send', REQUEST];
    expect(await found(PROTECTED, send)).toMatchObject({
      plain: 'closed',
      stealth: 'open',
      exit: 0,
      intlen: 24,
    });
  });

  test('it sends bytes in hex, which need not be text', async () => {
    const send = [...intlen(PROTECTED_LENGTH), '--send-hex', 'ff'.repeat(PROTECTED_LENGTH)];
    expect(await found(PROTECTED, send)).toMatchObject({ stealth: 'open', exit: 0 });
  });

  test('another length is reset', async () => {
    const send = [...intlen(10), '--send', REQUEST];
    expect(await found(PROTECTED, send)).toMatchObject({ plain: 'closed', stealth: 'reset', exit: 4 });
  });

  test('a server without is closed', async () => {
    const send = [...intlen(10), '--send', REQUEST];
    expect(await found(HIDDEN, send)).toMatchObject({ stealth: 'closed', exit: 4 });
  });
});

describe('what it goes by', () => {
  test('as a stranger it knows nothing of the secret, also where the library is preloaded', async () => {
    const env = { LD_PRELOAD: LIBRARY };
    expect(await found(HIDDEN, [], { env })).toMatchObject({ plain: 'closed', stealth: 'open', exit: 0 });
  });

  test('KNOCK_TARGETS, where a program would connect plainly', async () => {
    const env = { KNOCK_TARGETS: ':22' };
    const { status, stderr } = await check([address(), String(HIDDEN)], { env });
    expect(status).toBe(2);
    expect(stderr).toContain('KNOCK_TARGETS leaves 192.0.2.2 port 8000 out');
  });

  test('without a control process, one of its own', async () => {
    const env = { KNOCK_CONTROL: '/nonexistent/control.sock' };
    expect(await found(HIDDEN, [], { env })).toMatchObject({ stealth: 'open', exit: 0 });
  });

  test('or none, for whoever may not start one', async () => {
    const env = { KNOCK_CONTROL: '/nonexistent/control.sock' };
    const { status, stdout, stderr } = await check([address(), String(HIDDEN)], {
      env,
      before: ORDINARY_USER,
    });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/^knockify check: the control process can't start/);
  });

  test.each([
    { what: 'nothing', args: [], why: 'HOST and PORT are missing' },
    { what: 'no port', args: ['server', '70000'], why: "'70000' is no TCP port" },
    { what: 'too much', args: ['server', '22', 'x'], why: 'too many arguments' },
    { what: 'two ways', args: ['--listen', '1', 'server', '22'], why: '--listen takes neither' },
    { what: 'two texts', args: ['::1', '1', '--send', 'a', '--send-hex', '61'], why: 'cannot be used with' },
    { what: 'no time', args: ['::1', '1', '--timeout', '0'], why: 'seconds from 1 to 300' },
    { what: 'a listener nowhere', args: ['--listen', 'x:y'], why: 'a port from 1 to 65535 is wanted' },
  ])('refuses $what in one line, with status 2', async ({ args, why }) => {
    const { status, stdout, stderr } = await check(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^knockify check: .*\n$/);
    expect(stderr).toContain(why);
  });

  test('a name without an address', async () => {
    const { status, stderr } = await check(['nobody.invalid', '22']);
    expect(status).toBe(1);
    expect(stderr).toContain('nobody.invalid');
  });
});

describe('a path', () => {
  let other: Program;
  const path = (more: readonly string[] = [], setting: Setting = {}) =>
    found(CHECKS, ['--path', ...more], setting);

  beforeAll(async () => {
    const command = [process.execPath, KNOCKIFY, 'check', '--listen', String(CHECKS)];
    other = start(stealth.server, command, { env: { KNOCK_SECRET: SECRET } });
    await untilSays(other, 'open to everybody: port 7777');
  });
  afterAll(async () => {
    expect(await stop(other, 'SIGINT')).toMatchObject({ status: 0, stderr: '' });
  });

  test.each(['ipv4', 'ipv6', 'mapped'] as const)('that changes nothing, %s', async (family) => {
    const { status, stdout, stderr } = await check([address(family), String(CHECKS), '--path']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/ISN +(0x[0-9a-f]{8}) +\1\n +timestamp +(0x[0-9a-f]{8}) +\2\n/);
    expect(stdout).toContain('Nothing on the way changes what the token covers.');
  });

  test.each([
    ['sequence numbers', 'sequence', ['sequence number rewritten']],
    ['timestamps', 'timestamp', ['timestamp rewritten']],
    ['options', 'strip', ['timestamp removed']],
    ['all of it', 'both', ['sequence number rewritten', 'timestamp rewritten']],
  ] as const)('that changes %s', async (_, name, changes) => {
    const end = attachRewriter(stealth.lab, stealth.server, REWRITERS[name]);
    try {
      expect(await path()).toMatchObject({ changes, exit: 5 });
    } finally {
      end();
    }
  });

  test('that translates the destination', async () => {
    const there = `table ip gate { chain pre { type nat hook prerouting priority dstnat;`;
    inside(stealth.server, ['ip', 'addr', 'add', '192.0.2.77/32', 'dev', 'lo']);
    const end = nft(`${there} tcp dport 7000 dnat to 192.0.2.77:${CHECKS}; }; }`);
    try {
      const report = await found(7000, ['--path']);
      const changes = ['destination address translated', 'destination port translated'];
      expect(report).toMatchObject({
        changes,
        exit: 5,
        arrived: { destination: '192.0.2.77', destinationPort: CHECKS },
      });
    } finally {
      end();
      inside(stealth.server, ['ip', 'addr', 'del', '192.0.2.77/32', 'dev', 'lo']);
    }
  });

  test('without timestamps', async () => {
    setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', 0);
    try {
      expect(await path()).toMatchObject({ changes: [], sent: { tsval: null }, exit: 0 });
      const end = attachRewriter(stealth.lab, stealth.server, REWRITERS.sequence);
      try {
        expect(await path()).toMatchObject({ changes: ['sequence number rewritten'], exit: 5 });
      } finally {
        end();
      }
    } finally {
      setSysctl(stealth.client, 'net.ipv4.tcp_timestamps', 1);
    }
  });

  test('whatever KNOCK_INTLEN and KNOCK_TARGETS are', async () => {
    const env = { KNOCK_INT_LEN: '100', KNOCK_TARGETS: ':22' };
    expect(await path([], { env })).toMatchObject({ changes: [], exit: 0 });
  });

  test.each([
    { what: 'another secret', port: CHECKS, env: { KNOCK_SECRET: 'another' }, why: 'has another secret' },
    { what: 'something else there', port: OPEN, env: {}, why: 'something else listens' },
    { what: 'nothing there', port: NOTHING, env: {}, why: 'nothing listens at the other end' },
  ])('with $what', async ({ port, env, why }) => {
    const { status, stderr } = await check([address(), String(port), '--path'], { env });
    expect(status).toBe(1);
    expect(stderr).toContain(why);
  });

  test('whose other end answers with SYN cookies', async () => {
    setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 2);
    try {
      const { status, stderr } = await check([address(), String(CHECKS), '--path']);
      expect(status).toBe(1);
      expect(stderr).toContain('SYN cookie');
    } finally {
      setSysctl(stealth.server, 'net.ipv4.tcp_syncookies', 1);
    }
  });

  test('is told at the other end, too, and to nobody without the secret', async () => {
    const script = `exec 3<>/dev/tcp/${address()}/${CHECKS}; echo 'knockify-check 1 hello' >&3; cat <&3`;
    expect((await run(stealth.client, ['bash', '-c', script])).stdout).toBe('knockify-check 1 refused\n');
    expect(other.stdout()).toContain('192.0.2.1: it has another secret, or none');
    expect(other.stdout()).toMatch(/192\.0\.2\.1: told what arrived: ISN 0x[0-9a-f]{8}, timestamp 0x/);
  });

  test('has no other end under the library', async () => {
    const { status, stderr } = await check(['--listen', '7778'], { env: { LD_PRELOAD: LIBRARY } });
    expect(status).toBe(2);
    expect(stderr).toContain('take it out of LD_PRELOAD');
  });
});
