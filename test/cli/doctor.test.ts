import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Control, KNOCKIFY, startControl } from '../lab/control.ts';
import { filtersOn, knockFilters } from '../lab/filters.ts';
import { type Host, inside, type Lab, openLab, setSysctl } from '../lab/netns.ts';
import { run } from '../lab/program.ts';
import { openWorkshop, type Workshop } from './compiled.ts';
import { ORDINARY_USER } from './ordinaryUser.ts';

const SECRET = 'the-patient';

let lab: Lab;
let shop: Workshop;
/** Serves the server's namespace; the client's has none. */
let control: Control;

beforeAll(async () => {
  lab = openLab();
  shop = openWorkshop();
  control = await startControl(lab, lab.server, { env: { KNOCK_SECRET: 'lent' } });
  chmodSync(lab.directory, 0o755);
  chmodSync(control.socket, 0o666);
});

afterAll(() => {
  shop?.close();
  lab?.close();
});

/** Examines a namespace; the findings by their names, the summary apart. */
async function examine(host: Host, env: Record<string, string>, before: readonly string[] = []) {
  const { stdout, stderr, status } = await run(host, [...before, process.execPath, KNOCKIFY, 'doctor'], {
    env,
  });
  expect(stderr).toBe('');
  expect(stdout).not.toContain(SECRET);
  const lines = stdout.trimEnd().split('\n');
  const findings = lines.slice(0, -2).map((line) => /^(ok|!!|--) {2}([^:]+): (.+)$/.exec(line));
  expect(findings).not.toContain(null);
  return {
    status,
    summary: lines.slice(-2),
    marks: new Map(findings.map((finding) => [finding?.[2] ?? '', finding?.[1]])),
    texts: new Map(findings.map((finding) => [finding?.[2] ?? '', finding?.[3] ?? ''])),
  };
}

type Report = Awaited<ReturnType<typeof examine>>;

const YES = ['as a client: yes', 'as a server: yes'];
const NO = ['as a client: no', 'as a server: no'];
const troubles = ({ marks }: Report) => [...marks].filter(([, mark]) => mark === '!!').map(([name]) => name);

const filters = (host: Host) => [
  inside(host, ['tc', 'qdisc', 'show', 'dev', 'lo']),
  ...filtersOn(host, 'lo'),
];

describe('without a control process', () => {
  it('tries an engine of its own, and leaves nothing of it behind', async () => {
    const before = filters(lab.client);
    const report = await examine(lab.client, { KNOCK_SECRET: SECRET });
    expect(report).toMatchObject({ status: 0, summary: YES });
    expect(troubles(report)).toEqual([]);
    for (const name of ['BPF and tc', 'arming a client', 'guarding a listener', 'libknockify.so', 'secret'])
      expect(report.marks.get(name), name).toBe('ok');
    expect(filters(lab.client)).toEqual(before);
  });

  it('misses a secret', async () => {
    const report = await examine(lab.client, {});
    expect(report).toMatchObject({ status: 1, summary: NO });
    expect(troubles(report)).toEqual(['secret']);
  });

  it('misses capabilities', async () => {
    const report = await examine(lab.client, { KNOCK_SECRET: SECRET }, ORDINARY_USER);
    expect(report).toMatchObject({ status: 1, summary: NO });
    expect(troubles(report)).toEqual(['capabilities']);
    expect(report.texts.get('capabilities')).toContain("start 'knockify control' as root");
    expect(report.marks.get('arming a client')).toBe('--');
  });

  it.each([
    ['tcp_fastopen', 0, 1],
    ['tcp_fastopen_blackhole_timeout_sec', 30, 0],
  ])('finds that %s=%i is in the way of clients', async (name, value, normal) => {
    setSysctl(lab.client, `net.ipv4.${name}`, value);
    try {
      const report = await examine(lab.client, { KNOCK_SECRET: SECRET });
      expect(report).toMatchObject({ status: 1, summary: ['as a client: no', 'as a server: yes'] });
      expect(troubles(report)).toEqual(['arming a client', name]);
      expect(report.texts.get(name)).toContain(`sysctl net.ipv4.${name}=${normal}`);
    } finally {
      setSysctl(lab.client, `net.ipv4.${name}`, normal);
    }
  });

  it('warns where there are no timestamps', async () => {
    setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 0);
    try {
      const report = await examine(lab.client, { KNOCK_SECRET: SECRET });
      expect(report).toMatchObject({ status: 0, summary: YES });
      expect(report.marks.get('tcp_timestamps')).toBe('--');
    } finally {
      setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 1);
    }
  });

  it.each([
    ['an rc file that others can read', 'KNOCK_INTLEN=4\n', 0o644, 'chmod 600'],
    ['a line that is none', 'what is this\n', 0o600, 'not KEY=VALUE'],
  ])('finds %s', async (_, text, mode, expected) => {
    const rc = shop.script('rc', text, mode);
    chmodSync(rc, mode);
    const report = await examine(lab.client, { KNOCK_SECRET: SECRET, KNOCK_RC: rc });
    expect(report).toMatchObject({ status: 1, summary: NO });
    expect(troubles(report)).toContain('rc file');
    expect(report.texts.get('rc file')).toContain(expected);
    expect(report.texts.get('rc file')).not.toContain('what is this');
  });

  it('counts what a good rc file sets', async () => {
    const rc = shop.script('good', `KNOCK_SECRET=${SECRET}\nKNOCK_INTLEN=4\n`, 0o600);
    chmodSync(rc, 0o600);
    const report = await examine(lab.client, { KNOCK_RC: rc });
    expect(report).toMatchObject({ status: 0, summary: YES });
    expect(report.texts.get('rc file')).toContain('sets 2 of ');
    expect(report.texts.get('secret')).toMatch(/^fingerprint /);
  });

  it('finds a bad setting and a bad engine', async () => {
    const report = await examine(lab.client, {
      KNOCK_SECRET: SECRET,
      KNOCK_INTLEN: '5000',
      KNOCK_ENGINE: 'steam',
    });
    expect(report).toMatchObject({ status: 1, summary: NO });
    expect(troubles(report)).toEqual(['BPF and tc', 'environment', 'secret']);
    expect(report.texts.get('environment')).toContain('KNOCK_INTLEN=5000');
  });
});

describe('with a control process', () => {
  const programs = () => filtersOn(lab.server, 'lo');

  it.each([
    ['root', []],
    ['an ordinary user', ORDINARY_USER],
  ])('asks it, for %s, and leaves its filters alone', async (_, before) => {
    const filters = programs();
    expect(filters).toHaveLength(2);
    const secret = shop.script('secret', SECRET, 0o644);
    const env = { KNOCK_CONTROL: control.socket, KNOCK_SECRET: `f:${secret}` };
    const report = await examine(lab.server, env, before);
    expect(report).toMatchObject({ status: 0, summary: YES });
    expect(report.marks.get('BPF and tc')).toBe('--');
    for (const name of ['control process', 'arming a client', 'guarding a listener'])
      expect(report.marks.get(name), name).toBe('ok');
    expect(programs()).toEqual(filters);
  });

  it('takes the secret that it lends', async () => {
    const report = await examine(lab.server, { KNOCK_CONTROL: control.socket });
    expect(report).toMatchObject({ status: 0, summary: YES });
    expect(report.marks.get('secret')).toBe('--');
  });

  it('hears its refusal', async () => {
    const env = { KNOCK_CONTROL: control.socket, KNOCK_SECRET: 'f:/nonexistent' };
    const report = await examine(lab.server, env);
    expect(report).toMatchObject({ status: 1, summary: NO });
    expect(troubles(report)).toEqual(['arming a client', 'guarding a listener', 'secret']);
  });

  it('sees that it serves another network namespace', async () => {
    const report = await examine(lab.client, { KNOCK_CONTROL: control.socket, KNOCK_SECRET: SECRET });
    expect(report).toMatchObject({ status: 1, summary: NO });
    expect(report.texts.get('arming a client')).toContain('another network namespace');
  });

  it('leaves one alone that serves elsewhere', async () => {
    const filters = programs();
    const report = await examine(lab.server, { KNOCK_CONTROL: '/nonexistent/socket', KNOCK_SECRET: SECRET });
    expect(report).toMatchObject({ status: 0, summary: YES });
    expect(report.texts.get('BPF and tc')).toContain('a control process works in this network namespace');
    expect(programs()).toEqual(filters);
  });

  it('is not let in', async () => {
    chmodSync(control.socket, 0o600);
    try {
      const report = await examine(
        lab.server,
        { KNOCK_CONTROL: control.socket, KNOCK_SECRET: SECRET },
        ORDINARY_USER,
      );
      expect(report).toMatchObject({ status: 1, summary: NO });
      expect(report.texts.get('control process')).toContain('EACCES');
    } finally {
      chmodSync(control.socket, 0o666);
    }
  });
});

describe('behind a control process that has ended', () => {
  it('leaves its filters where they are: sockets may still depend on them', async () => {
    const ended = await startControl(lab, lab.client);
    await ended.stop();
    const kept = () => knockFilters(lab.client, 'lo');
    expect(kept()).toEqual(['knock_ingress', 'knock_egress']);
    const report = await examine(lab.client, { KNOCK_SECRET: SECRET });
    expect(report).toMatchObject({ status: 0, summary: YES });
    expect(kept()).toEqual(['knock_ingress', 'knock_egress']);
  });
});
