import { existsSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ORDINARY_USER } from '../cli/ordinaryUser.ts';
import { type Control, KNOCKIFY, startControl } from './control.ts';
import { filtersOn, knockFilters, strip } from './filters.ts';
import { PAGE, startLighttpd, urlOf } from './lighttpd.ts';
import { type Host, inside, type Lab, openLab } from './netns.ts';
import { type Knock, PYTHON, run, start, stop, until, untilSays } from './program.ts';
import { PROTECTED_LENGTH, SECRET } from './stealthlab.ts';

/** What a control process that ends takes with it, and what it leaves to the next one. */

let lab: Lab;

beforeAll(() => {
  lab = openLab();
});
afterAll(() => lab?.close());

/** What control processes put into a network namespace: its queueing disciplines and filters. Program ids aside. */
function traces(host: Host): string {
  const filters = ['lo', host.device].flatMap((device) =>
    filtersOn(host, device).map(({ way, direction, name }) => `${device}: ${way} ${direction} ${name}\n`),
  );
  const shown = [inside(host, ['tc', 'qdisc', 'show']), ...filters, inside(host, ['bpftool', 'net', 'show'])];
  return shown.join('').replace(/:\[\d+\]|\bid \d+/g, '');
}

async function fetchPage(port: number, client: Control, server: Control): Promise<void> {
  const knock = (control: Control): Knock => ({
    control: control.socket,
    secret: SECRET,
    intlen: PROTECTED_LENGTH,
  });
  const web = await startLighttpd(lab, { family: 'ipv4', port, knock: knock(server) });
  const url = urlOf(lab.server, 'ipv4', port);
  const outcome = await run(lab.client, ['curl', '-sS', '-m', '8', url], { knock: knock(client) });
  expect(outcome).toMatchObject({ status: 0, stdout: PAGE });
  await stop(web.program);
}

async function endBySigterm(...controls: Control[]): Promise<void> {
  for (const control of controls) {
    expect(await stop(control.program)).toMatchObject({ status: 0, signal: undefined });
    expect(existsSync(control.socket)).toBe(false);
  }
}

test('an ephemeral one leaves nothing', async () => {
  const before = [traces(lab.client), traces(lab.server)];
  const options = { arguments: ['--ephemeral'] };
  const client = await startControl(lab, lab.client, options);
  const server = await startControl(lab, lab.server, options);
  expect(statSync(client.socket).isSocket()).toBe(true);
  await fetchPage(8700, client, server);
  expect(traces(lab.client)).not.toBe(before[0]);
  await endBySigterm(client, server);
  expect([traces(lab.client), traces(lab.server)]).toEqual(before);
});

test('others leave their filters, for delayed connects of running programs, and the next one takes them over', async () => {
  const seen: string[] = [];
  for (const ending of ['SIGTERM', 'SIGKILL', 'SIGTERM'] as const) {
    const client = await startControl(lab, lab.client);
    const server = await startControl(lab, lab.server);
    await fetchPage(8701, client, server);
    if (ending === 'SIGTERM') await endBySigterm(client, server);
    else await Promise.all([client, server].map((control) => stop(control.program, 'SIGKILL')));
    seen.push(traces(lab.client));
  }
  expect(new Set(seen).size).toBe(1);
});

test('one that works puts back what somebody took away', async () => {
  const control = await startControl(lab, lab.client);
  const before = knockFilters(lab.client);
  expect(before).toEqual(['knock_ingress', 'knock_egress']);
  strip(lab.client, lab.client.device);
  // Of a queueing discipline netlink tells at once; at tcx it looks now and then.
  await until('the filters', () => knockFilters(lab.client).length === before.length);
  expect(knockFilters(lab.client)).toEqual(before);
  await control.stop();
});

describe('control --remove-filters', () => {
  const removeFilters = (host: Host) =>
    run(host, [process.execPath, KNOCKIFY, 'control', '--remove-filters']);

  test('takes away what was left, and says so where there is nothing', async () => {
    const other = openLab();
    try {
      const before = traces(other.client);
      await (await startControl(other, other.client)).stop();
      // One that can't take over what it finds leaves its own beside.
      const unprivileged = ['setpriv', '--bounding-set=-all,+net_admin,+bpf', '--inh-caps=-all', '--'];
      await (await startControl(other, other.client, { before: unprivileged })).stop();
      expect(traces(other.client).match(/knock_egress/g)?.length).toBeGreaterThan(2);
      expect(traces(other.client)).not.toBe(before);
      expect(await removeFilters(other.client)).toMatchObject({ status: 0, stderr: '' });
      expect(traces(other.client)).toBe(before);
      const { stdout } = await removeFilters(other.client);
      expect(stdout).toBe('No control process has left filters here.\n');
    } finally {
      other.close();
    }
  });

  test('tells who may not look that he may not', async () => {
    const outcome = await run(lab.client, [
      ...ORDINARY_USER,
      ...[process.execPath, KNOCKIFY, 'control', '--remove-filters'],
    ]);
    expect(outcome).toMatchObject({ status: 1, stdout: '' });
    expect(outcome.stderr).toContain('EPERM');
  });

  test('leaves all as it is while a control process works, or a connect waits for one', async () => {
    const control = await startControl(lab, lab.client);
    const before = traces(lab.client);
    const connect = `import socket, time
s = socket.create_connection(("${lab.server.addresses.ipv4}", 8702)); print("delayed", flush=True); time.sleep(60)`;
    const program = start(lab.client, [PYTHON, '-c', connect], {
      knock: { control: control.socket, secret: SECRET, intlen: PROTECTED_LENGTH },
    });
    await untilSays(program, 'delayed');
    const working = await removeFilters(lab.client);
    expect(working).toMatchObject({ status: 1, stdout: '' });
    expect(working.stderr).toContain('a control process works in this network namespace: stop it first');
    await control.stop();
    const waiting = await removeFilters(lab.client);
    expect(waiting).toMatchObject({ status: 1, stdout: '' });
    expect(waiting.stderr).toContain('1 connects are delayed or on their way');
    expect(traces(lab.client)).toBe(before);
    await stop(program, 'SIGKILL');
    expect(await removeFilters(lab.client)).toMatchObject({
      status: 0,
      stdout: 'The filters are removed.\n',
    });
  });
});
