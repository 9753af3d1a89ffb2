import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ORDINARY_USER } from '../cli/ordinaryUser.ts';
import { capturing } from './capture.ts';
import { controlCommand, startControl } from './control.ts';
import { writeLighttpdConfig } from './lighttpd.ts';
import { type Host, type Lab, openLab } from './netns.ts';
import { type Knock, PYTHON, REPOSITORY, run, start, until } from './program.ts';
import { FAMILIES, MODES, PROTECTED_LENGTH, SECRET } from './stealthlab.ts';

/** Where stealth can't be had, nothing is sent, nothing listens, and one line says why. */

const STEPS = `${REPOSITORY}/test/programs/steps.py`;
const PORT = 8300;
const PAYLOAD = Buffer.alloc(PROTECTED_LENGTH + 1, 'x').toString('hex');
const CLOSED = 7;

let lab: Lab;
/** Control sockets that are of no use, by what is wrong with them. */
const useless: Record<string, (host: Host) => string> = {};

beforeAll(async () => {
  lab = openLab();
  const [onClient, onServer] = await Promise.all([
    startControl(lab, lab.client),
    startControl(lab, lab.server),
  ]);
  useless['no control process'] = () => join(lab.directory, 'nobody.sock');
  const stale = await startControl(lab, lab.client);
  stale.program.child.kill('SIGKILL');
  await stale.program.ended;
  useless['a control process that was killed'] = () => stale.socket;
  useless['the control process of another network namespace'] = (host) =>
    host === lab.client ? onServer.socket : onClient.socket;
  const unprivileged = {
    client: await startWithout(lab.client, ['net_admin']),
    server: await startWithout(lab.server, ['bpf', 'sys_admin']),
  };
  useless['a control process without privilege'] = (host) => unprivileged[host.name];
});
afterAll(() => lab?.close());

/** Starts a control process that lacks capabilities: it may refuse to start, or refuse to help. */
async function startWithout(host: Host, capabilities: readonly string[]): Promise<string> {
  const dropped = capabilities.map((name) => `-${name}`).join(',');
  const socket = join(lab.directory, `unprivileged-${host.name}.sock`);
  const program = start(
    host,
    controlCommand(socket, ['setpriv', '--inh-caps', dropped, '--bounding-set', dropped]),
  );
  await until('a verdict', () => !program.isRunning() || program.stderr().includes('ready on'), 20_000);
  return socket;
}

const REASONS = [
  'no control process',
  'a control process that was killed',
  'the control process of another network namespace',
  'a control process without privilege',
] as const;

function knockBy(reason: string, host: Host, intlen: number): Knock {
  const socket = useless[reason]?.(host);
  if (socket === undefined) throw new Error(`nothing is set up for "${reason}"`);
  return { control: socket, secret: SECRET, intlen };
}

/** One line of the library's, and nothing else. */
const ONE_LINE = /^knockify: [^\n]+\n$/;

describe.each(REASONS)('%s', (reason) => {
  describe.each(MODES)('%s', (mode) => {
    const intlen = mode === 'integrity' ? PROTECTED_LENGTH : 0;

    test.each(FAMILIES)('connect over %s sends nothing and says EPROTONOSUPPORT', async (family) => {
      const address = lab.server.addresses[family];
      const { result, packets } = await capturing(lab, () =>
        run(lab.client, [PYTHON, STEPS, 'connect', address, String(PORT), PAYLOAD], {
          knock: knockBy(reason, lab.client, intlen),
        }),
      );
      expect(packets).toEqual([]);
      const { steps, after } = JSON.parse(result.stdout);
      expect(steps).toEqual([['connect', 'EPROTONOSUPPORT']]);
      expect(after).toEqual({ repair: 0, fastopenConnect: 0, noCookie: 0, state: CLOSED });
      expect(result.stderr).toMatch(ONE_LINE);
      expect(result.stderr).not.toContain(SECRET);
    });

    test('listen leaves no listener and says EPROTONOSUPPORT', async () => {
      const address = lab.server.addresses.ipv4;
      const outcome = await run(lab.server, [PYTHON, STEPS, 'listen', address, String(PORT)], {
        knock: knockBy(reason, lab.server, intlen),
      });
      const { steps, after } = JSON.parse(outcome.stdout);
      expect(steps).toEqual([['listen', 'EPROTONOSUPPORT']]);
      expect(after).toMatchObject({ repair: 0, state: CLOSED });
      expect(outcome.stderr).toMatch(ONE_LINE);
    });
  });

  test('curl and lighttpd fail, and say why', async () => {
    const url = `http://${lab.server.addresses.ipv4}:${PORT}/`;
    const config = writeLighttpdConfig(lab, 'ipv4', PORT);
    const { result, packets } = await capturing(lab, async () => ({
      curl: await run(lab.client, ['curl', '-sS', '-m', '8', url], { knock: knockBy(reason, lab.client, 0) }),
      lighttpd: await run(lab.server, ['lighttpd', '-D', '-f', config], {
        knock: knockBy(reason, lab.server, 0),
      }),
    }));
    expect(packets).toEqual([]);
    for (const outcome of [result.curl, result.lighttpd]) {
      expect(outcome.status).not.toBe(0);
      expect(outcome.stderr).toMatch(/^knockify: /m);
    }
  });
});

describe('a policy that makes no sense', () => {
  const bad = [
    { what: 'odd hex', env: { KNOCK_SECRET: 'h:abc' } },
    { what: 'an unreadable file', env: { KNOCK_SECRET: 'f:/nonexistent' } },
    { what: 'a length that is no number', env: { KNOCK_SECRET: SECRET, KNOCK_INTLEN: 'many' } },
    { what: 'a malformed target', env: { KNOCK_SECRET: SECRET, KNOCK_TARGETS: 'nowhere/' } },
    { what: 'no secret at all', env: { KNOCK_SECRET: '' } },
  ];
  let control: string;
  beforeAll(async () => {
    control = (await startControl(lab, lab.client)).socket;
  });

  test.each(bad)('$what: connect sends nothing and says EPROTONOSUPPORT', async ({ env }) => {
    const { result, packets } = await capturing(lab, () =>
      run(lab.client, [PYTHON, STEPS, 'connect', lab.server.addresses.ipv4, String(PORT), PAYLOAD], {
        knock: { control, secret: SECRET },
        env,
      }),
    );
    expect(packets).toEqual([]);
    expect(JSON.parse(result.stdout).steps).toEqual([['connect', 'EPROTONOSUPPORT']]);
    expect(result.stderr).toMatch(ONE_LINE);
    expect(result.stderr).not.toContain(SECRET);
  });

  test('a user who may not use the control process is told which options it needs', async () => {
    const outcome = await run(
      lab.client,
      [...ORDINARY_USER, PYTHON, STEPS, 'connect', lab.server.addresses.ipv4, String(PORT), PAYLOAD],
      { knock: { control, secret: SECRET } },
    );
    expect(JSON.parse(outcome.stdout).steps).toEqual([['connect', 'EPROTONOSUPPORT']]);
    expect(outcome.stderr).toMatch(ONE_LINE);
    expect(outcome.stderr).toContain('--group or --mode');
  });

  test('an rc file that others can read is refused', async () => {
    const rc = join(lab.directory, 'knockrc');
    writeFileSync(rc, `KNOCK_SECRET=${SECRET}\n`);
    chmodSync(rc, 0o644);
    const outcome = await run(
      lab.client,
      ['env', '-u', 'KNOCK_SECRET', PYTHON, STEPS, 'connect', lab.server.addresses.ipv4, String(PORT)],
      { knock: { control, secret: '' }, env: { KNOCK_RC: rc } },
    );
    expect(JSON.parse(outcome.stdout).steps).toEqual([['connect', 'EPROTONOSUPPORT']]);
    expect(outcome.stderr).toContain(rc);
    expect(outcome.stderr).not.toContain(SECRET);
  });
});
