import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sayTo, startAcceptor } from './acceptor.ts';
import { startCapture } from './capture.ts';
import { type Control, controlCommand, KNOCKIFY, startControl, statusOf } from './control.ts';
import { inside, type Lab, openLab } from './netns.ts';
import { syns } from './packets.ts';
import { sendProbes } from './probes.ts';
import { type Outcome, type Program, PYTHON, run, start, stop, until } from './program.ts';
import { SECRET } from './stealthlab.ts';

/** What others read of the control process: metrics, logs for programs, and a terminal that shows the status live. */

const TERMINAL = fileURLToPath(new URL('terminal.py', import.meta.url));
const PORT = 8710;
const SCRAPE_PORT = 9464;
const REQUEST = 'what the client says first';

let lab: Lab;
let client: Control;
let control: Control;
let server: Program;
let scraped: string;
let opened: Outcome;
/** Of the SYNs that opened it. */
let tokens: number[];

beforeAll(async () => {
  lab = openLab();
  scraped = `${lab.directory}/metrics.sock`;
  client = await startControl(lab, lab.client);
  const options = ['--metrics', `unix:${scraped}`, '--log-format', 'json', '--log-events'];
  control = await startControl(lab, lab.server, {
    arguments: options,
    env: { KNOCK_LOGLVL: '3' },
    ready: '"ready on',
  });
  const settings = { secret: SECRET, intlen: 8 };
  server = await startAcceptor(lab.server, '::', PORT, { knock: { control: control.socket, ...settings } });
  const capture = await startCapture(lab);
  opened = await sayTo(lab, PORT, REQUEST, { control: client.socket, ...settings });
  tokens = syns(await capture.stop()).map(({ sequence }) => sequence);
  const syn = { family: 'ipv4', sourcePort: 20_000, destinationPort: PORT, flags: 'S' } as const;
  await sendProbes(lab, [syn, { ...syn, sourcePort: 20_001 }]);
});
afterAll(() => lab?.close());

const scrape = (...where: string[]) => run(lab.server, ['curl', '-sS', '-m', '8', '-i', ...where]);

/** Samples by name and labels; throws on a line that is none. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  for (const line of text.split('\n').slice(0, -1)) {
    const type = /^# TYPE (\w+) (counter|gauge)$/.exec(line);
    if (type !== null) types.set(type[1] ?? '', type[2] ?? '');
    if (line.startsWith('#')) continue;
    const sample = /^((\w+)(?:\{(?:\w+="(?:[^"\\\n]|\\.)*",?)*\})?) ([\d.e+-]+)$/.exec(line);
    if (sample === null) throw new Error(`not a sample: ${line}`);
    if (!types.has(sample[2] ?? '')) throw new Error(`of no type: ${line}`);
    expect(types.get(sample[2] ?? '') === 'counter').toBe((sample[2] ?? '').endsWith('_total'));
    samples.set(sample[1] ?? '', Number(sample[3]));
  }
  return samples;
}

test('metrics are scraped over a Unix socket', async () => {
  expect(opened).toMatchObject({ status: 0, stdout: REQUEST });
  const { status, stdout } = await scrape('--unix-socket', scraped, 'http://localhost/metrics');
  expect(status).toBe(0);
  const [head = '', body = ''] = stdout.split('\r\n\r\n');
  expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\nContent-Type: text\/plain; version=0\.0\.4/);
  const samples = parse(body);
  const syns = (verdict: string) =>
    samples.get(`knockify_syns_total{listener="[::]:${PORT}",program="python3",verdict="${verdict}"}`);
  expect([syns('authorised'), syns('rejected')]).toEqual([1, 2]);
  expect(
    Object.fromEntries(
      [...samples].filter(([name]) => name.startsWith('knockify_') && !name.includes('syns')),
    ),
  ).toEqual({
    knockify_listeners: 1,
    'knockify_connects{state="armed"}': 0,
    'knockify_connects{state="delayed"}': 0,
    knockify_sessions: 0,
    knockify_errors_total: 0,
    knockify_events_suppressed_total: 0,
  });
  expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1e7);
  expect(statSync(scraped).mode & 0o777).toBe(0o660);
  expect((await scrape('--unix-socket', scraped, 'http://localhost/')).stdout).toMatch(/^HTTP\/1\.1 404/);
  const post = await scrape('--unix-socket', scraped, '-d', 'x', 'http://localhost/metrics');
  expect(post.stdout).toMatch(/^HTTP\/1\.1 405/);
});

test('or over loopback, and nowhere else', async () => {
  const other = await startControl(lab, lab.server, { arguments: ['--metrics', `127.0.0.1:${SCRAPE_PORT}`] });
  const { stdout } = await scrape(`http://127.0.0.1:${SCRAPE_PORT}/metrics`);
  expect(parse(stdout.split('\r\n\r\n')[1] ?? '').get('knockify_listeners')).toBe(1);
  const taken = `${lab.directory}/taken.sock`;
  const again = [...controlCommand(taken), '--metrics', `127.0.0.1:${SCRAPE_PORT}`];
  const refused = await run(lab.server, again);
  expect(refused).toMatchObject({ status: 1 });
  expect(refused.stderr).toMatch(/^knockify control: --metrics 127\.0\.0\.1:9464: .*EADDRINUSE[^\n]*\n$/);
  expect(existsSync(taken)).toBe(false);
  await other.stop();
  const open = await run(lab.server, [...controlCommand(taken), '--metrics', `0.0.0.0:${SCRAPE_PORT}`]);
  expect(open).toMatchObject({ status: 1 });
  expect(open.stderr).toContain('0.0.0.0 is not a loopback address; metrics name the ports that are hidden');
});

describe('the log for programs', () => {
  const lines = () =>
    control.program
      .stderr()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  test('says in fields whom each line is about', () => {
    const guarded = lines().find(({ msg }) => String(msg).startsWith('guarded '));
    expect(guarded).toMatchObject({ level: 'debug', name: 'knockify', pid: server.pid, uid: 0, gid: 0 });
  });

  test('has the verdicts that it was asked for', async () => {
    await until('the verdicts', () => lines().filter(({ verdict }) => verdict !== undefined).length >= 3);
    const verdicts = lines().filter(({ verdict }) => verdict !== undefined);
    expect(verdicts).toMatchObject([
      { verdict: 'authorised', destinationPort: PORT, program: 'python3', pid: server.pid },
      { verdict: 'rejected', source: lab.client.addresses.ipv4, sourcePort: 20_000 },
      { verdict: 'rejected', source: lab.client.addresses.ipv4, sourcePort: 20_001 },
    ]);
  });
});

const liveStatus = () => [
  process.execPath,
  KNOCKIFY,
  'status',
  '--watch',
  '--interval',
  '0.1',
  '--socket',
  control.socket,
];

test('the live status draws on a screen of its own, and leaves the terminal clean', async () => {
  const watch = liveStatus();
  const env = { TERM: 'xterm-256color' };
  const outcome = await run(lab.server, [PYTHON, TERMINAL, '3', 'LISTENER', ...watch], { env });
  // As a shell says it of a program that SIGINT has ended.
  expect(outcome.status).toBe(254);
  const written = Buffer.from(outcome.stdout.trim(), 'hex').toString();
  const ESCAPE = '\x1b';
  expect(written.startsWith(`${ESCAPE}[?1049h${ESCAPE}[?25l${ESCAPE}[H`)).toBe(true);
  expect(written.replace(/\^C$/, '').endsWith(`${ESCAPE}[?25h${ESCAPE}[?1049l`)).toBe(true);
  expect(written).not.toContain(`${ESCAPE}[2J`);
  expect(written).toContain(`${ESCAPE}[2mLISTENER`);
  const frames = written.split(`${ESCAPE}[H`).slice(1);
  expect(frames.length).toBeGreaterThanOrEqual(3);
  for (const frame of frames) {
    const plain = frame.replace(new RegExp(`${ESCAPE}\\[[?\\d;]*[A-Za-z]`, 'g'), '');
    for (const line of plain.split('\r\n')) expect(line.length).toBeLessThanOrEqual(80);
  }
  const colourless = await run(lab.server, [PYTHON, TERMINAL, '1', 'LISTENER', ...watch], {
    env: { ...env, NO_COLOR: '1' },
  });
  expect(Buffer.from(colourless.stdout.trim(), 'hex').toString()).not.toContain('\x1b[2m');
});

test('without a terminal it is printed once an interval, in black and white', async () => {
  const watch = liveStatus();
  const program = start(lab.server, watch, { env: { TERM: 'xterm-256color' } });
  await until('three looks', () => (program.stdout().match(/LISTENER/g)?.length ?? 0) >= 3);
  await stop(program, 'SIGINT');
  expect(program.stdout()).not.toContain('\x1b');
});

test('no secret and no token is in any of it', async () => {
  const everything = [
    control.program.stderr(),
    (await scrape('--unix-socket', scraped, 'http://localhost/metrics')).stdout,
    JSON.stringify(await statusOf(lab.server, control)),
  ].join('\n');
  expect(everything.length).toBeGreaterThan(1000);
  const secret = Buffer.from(SECRET);
  for (const form of [SECRET, secret.toString('hex'), secret.toString('base64')])
    expect(everything).not.toContain(form.replace(/=+$/, ''));
  expect(everything).not.toContain(REQUEST.slice(0, 8));
  expect(tokens.length).toBeGreaterThan(0);
  for (const token of tokens)
    for (const form of [String(token), token.toString(16), token.toString(16).padStart(8, '0').toUpperCase()])
      expect(everything).not.toContain(form);
});

test('connects are counted while they are delayed, and while their SYN is on its way', async () => {
  const connect = `
import socket, sys, time
s = socket.socket()
s.setblocking(False)
s.connect_ex(("192.0.2.99", int(sys.argv[1])))
if sys.argv[2] == "send":
    try: s.send(b"x" * 8)
    except BlockingIOError: pass
print("done", flush=True)
time.sleep(60)
`;
  const knock = { control: client.socket, secret: SECRET, intlen: 8 };
  const states = async () => (await statusOf(lab.client, client)).connects;
  inside(lab.client, [
    'ip',
    'neigh',
    'replace',
    '192.0.2.99',
    'lladdr',
    '02:00:00:00:02:ff',
    'dev',
    lab.client.device,
  ]);
  const programs = ['wait', 'send', 'wait'].map((what) =>
    start(lab.client, [PYTHON, '-c', connect, String(PORT), what], { knock }),
  );
  await until('the connects', () => programs.every((program) => program.stdout().includes('done')));
  // What was found is good for a second.
  for (let look = 0; look < 100; look++) {
    if (JSON.stringify(await states()) === JSON.stringify({ armed: 1, delayed: 2 })) break;
  }
  expect(await states()).toEqual({ armed: 1, delayed: 2 });
  for (const program of programs) await stop(program, 'SIGKILL');
});
