import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { controlCommand, startControl } from '../lab/control.ts';
import { type Lab, openLab } from '../lab/netns.ts';
import { PYTHON, run } from '../lab/program.ts';
import { buildStandIn, type StandIn } from './standIn.ts';

/** Which engine is chosen, on a kernel without the Knock patch, and what the stand-in for one with it answers. */

let lab: Lab;
let standIn: StandIn;

beforeAll(() => {
  lab = openLab();
  standIn = buildStandIn(lab);
});
afterAll(() => lab?.close());
beforeEach(() => standIn.clear());

test('the stand-in answers as the patch does', async () => {
  const attempts = [
    ['27 before 26', "27, b'x'", 'EOPNOTSUPP'],
    ['28 before 26', '28, 4', 'EOPNOTSUPP'],
    ['a long secret', '26, bytes(65)', 'EINVAL'],
    ['a secret', "26, b'secret'", 'ok'],
    ['no payload', "27, b''", 'EINVAL'],
    ['a long payload', '27, bytes(65536)', 'EINVAL'],
    ['the longest payload', '27, bytes(65535)', 'ok'],
    ['length 0', '28, 0', 'EINVAL'],
    ['length 65536', '28, 65536', 'EINVAL'],
    ['length 65535', '28, 65535', 'ok'],
    ['something else', '1, 1', 'ok'],
  ] as const;
  const script = `
import errno, json, socket
fd = socket.socket()
def attempt(option, value):
    try:
        return fd.setsockopt(6, option, value) or 'ok'
    except OSError as error:
        return {95: 'EOPNOTSUPP'}.get(error.errno, errno.errorcode[error.errno])
print(json.dumps([${attempts.map(([, what]) => `attempt(${what})`).join(', ')}]))`;
  const outcome = await run(lab.client, standIn.under('python', [PYTHON, '-c', script]));
  expect(outcome).toMatchObject({ status: 0, stderr: '' });
  expect(JSON.parse(outcome.stdout)).toEqual(attempts.map(([, , answer]) => answer));
});

describe('where the probe says no', () => {
  test('auto takes the stock engine, and nothing but 26 was asked', async () => {
    const control = await startControl(lab, lab.client, {
      before: standIn.under('control', [], 'unpatched'),
      env: { KNOCK_ENGINE: 'auto' },
    });
    await control.stop();
    expect(control.program.stderr()).toContain('(engine stock)');
    expect(standIn.calls()[0]).toMatchObject({ option: 26, length: 64, errno: 92 });
    const asked = standIn.calls().map(({ option }) => option);
    for (const option of [25, 27, 28]) expect(asked).not.toContain(option);
  });

  test.each([
    { kernel: 'the stand-in for one', before: () => standIn.under('control', [], 'unpatched') },
    { kernel: 'the real one', before: () => [] },
  ])('knock is an error that names the option, on a stock kernel: $kernel', async ({ before }) => {
    const command = controlCommand(join(lab.directory, 'never.sock'), before());
    const outcome = await run(lab.client, command, { env: { KNOCK_ENGINE: 'knock' } });
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(/^knockify control: KNOCK_ENGINE=knock, .* no TCP_STEALTH socket option/);
  });
});
