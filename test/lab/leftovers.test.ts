import { existsSync, statSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Control, startControl } from './control.ts';
import { PAGE, startLighttpd, urlOf } from './lighttpd.ts';
import { type Host, inside, type Lab, openLab } from './netns.ts';
import { type Knock, run, stop } from './program.ts';
import { PROTECTED_LENGTH, SECRET } from './stealthlab.ts';

/** What a control process that ends takes with it, and what it leaves to the next one. */

let lab: Lab;

beforeAll(() => {
  lab = openLab();
});
afterAll(() => lab?.close());

/** What control processes put into a network namespace: its queueing disciplines and filters. Program ids aside. */
function traces(host: Host): string {
  const filters = ['egress', 'ingress'].map((side) =>
    inside(host, ['tc', 'filter', 'show', 'dev', host.device, side]),
  );
  const shown = [inside(host, ['tc', 'qdisc', 'show']), ...filters, inside(host, ['bpftool', 'net', 'show'])];
  return shown.join('\n').replace(/:\[\d+\]|\bid \d+/g, '');
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
