import { existsSync, statSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startControl } from './control.ts';
import { PAGE, startLighttpd, urlOf } from './lighttpd.ts';
import { type Host, inside, type Lab, openLab } from './netns.ts';
import { type Knock, run, stop } from './program.ts';
import { PROTECTED_LENGTH, SECRET } from './stealthlab.ts';

/** A control process that ends takes with it what it made. */

let lab: Lab;

beforeAll(() => {
  lab = openLab();
});
afterAll(() => lab?.close());

/** What a control process could leave in its network namespace. */
function traces(host: Host): string {
  const filters = ['egress', 'ingress'].map((side) =>
    inside(host, ['tc', 'filter', 'show', 'dev', host.device, side]),
  );
  return [inside(host, ['tc', 'qdisc', 'show']), ...filters, inside(host, ['bpftool', 'net', 'show'])].join(
    '\n',
  );
}

test('SIGTERM removes hooks and socket', async () => {
  const before = { client: traces(lab.client), server: traces(lab.server) };
  const onClient = await startControl(lab, lab.client);
  const onServer = await startControl(lab, lab.server);
  expect(statSync(onClient.socket).isSocket()).toBe(true);
  const knock = (control: string): Knock => ({ control, secret: SECRET, intlen: PROTECTED_LENGTH });
  const server = await startLighttpd(lab, { family: 'ipv4', port: 8700, knock: knock(onServer.socket) });
  const url = urlOf(lab.server, 'ipv4', 8700);
  const outcome = await run(lab.client, ['curl', '-sS', '-m', '8', url], { knock: knock(onClient.socket) });
  expect(outcome.stdout).toBe(PAGE);
  expect(traces(lab.client)).not.toBe(before.client);
  await stop(server.program);
  for (const control of [onClient, onServer]) {
    expect(await stop(control.program)).toMatchObject({ status: 0, signal: undefined });
    expect(existsSync(control.socket)).toBe(false);
  }
  expect(traces(lab.client)).toBe(before.client);
  expect(traces(lab.server)).toBe(before.server);
});
