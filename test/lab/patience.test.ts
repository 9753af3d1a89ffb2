import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startControl } from './control.ts';
import { type Lab, openLab } from './netns.ts';
import { PYTHON, run } from './program.ts';
import { SECRET } from './stealthlab.ts';

/** A control process that hangs costs a program so much time and no more, and then the call fails. */

const SCRIPT = fileURLToPath(new URL('patience.py', import.meta.url));
const PORT = 8790;
const ONE_LINE =
  /^knockify: (connect|listen): (lost|cannot reach) the control process at [^\n]+: no answer in time \('knockify doctor' tells more\)\n$/;

let lab: Lab;
let control: string;
let hung: number;
beforeAll(async () => {
  lab = openLab();
  const { program, socket } = await startControl(lab, lab.client);
  control = socket;
  hung = program.pid;
  process.kill(hung, 'SIGSTOP');
});
afterAll(() => {
  if (hung) process.kill(hung, 'SIGCONT');
  lab?.close();
});

/** Seconds that the call took to fail. */
async function failing(env: Record<string, string>, ...call: string[]): Promise<number> {
  const knock = { control, secret: SECRET };
  const outcome = await run(lab.client, [PYTHON, SCRIPT, ...call], { knock, env });
  expect(outcome.stderr).toMatch(ONE_LINE);
  const { result, took } = JSON.parse(outcome.stdout);
  expect(result).toBe('EPROTONOSUPPORT');
  return took;
}

const CONNECT = ['connect', '192.0.2.2', String(PORT)] as const;
const CALLS = [CONNECT, ['listen', '0.0.0.0', '0']] as const;

test('as long as KNOCK_TIMEOUT says, in the environment or the rc file, and not longer under signals', async () => {
  const rc = join(lab.directory, 'patience.rc');
  writeFileSync(rc, `# ${'long '.repeat(100)}\nKNOCK_LOGLVL=1\n KNOCK_TIMEOUT = 1 \n`);
  chmodSync(rc, 0o600);
  const [longer, ...shorter] = await Promise.all([
    failing({ KNOCK_TIMEOUT: '4', KNOCK_RC: rc }, ...CONNECT),
    ...CALLS.flatMap((call) => [
      failing({ KNOCK_TIMEOUT: '1' }, ...call),
      failing({ KNOCK_TIMEOUT: '1' }, ...call, 'often'),
      failing({ KNOCK_RC: rc }, ...call),
    ]),
  ]);
  expect(longer).toBeGreaterThan(3.9);
  for (const took of shorter) {
    expect(took).toBeGreaterThan(0.9);
    expect(took).toBeLessThan(longer);
  }
});

test('and it says which values KNOCK_TIMEOUT may have', async () => {
  process.kill(hung, 'SIGCONT');
  const outcome = await run(lab.client, [PYTHON, SCRIPT, ...CONNECT], {
    knock: { control, secret: SECRET },
    env: { KNOCK_TIMEOUT: 'soon' },
  });
  expect(outcome.stderr).toContain('KNOCK_TIMEOUT=soon (environment)');
  expect(outcome.stderr).toContain('seconds from 1 to 60');
});
