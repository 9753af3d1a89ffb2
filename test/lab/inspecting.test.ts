import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PYTHON, REPOSITORY, run, start, untilSays } from './program.ts';
import { openStealthLab, type StealthLab } from './stealthlab.ts';

/**
 * Most connections to a listener in integrity mode are inspected by the library alone. Where the server's control process
 * does not answer any more, these and no others are accepted.
 */

const CROWD = `${REPOSITORY}/test/programs/crowd.py`;
/** On both sides of where a hash takes one block of MD5 more, and the longest. */
const LENGTHS = [1, 24, 55, 56, 64, 119, 120, 1000, 1024];
const ADDRESSES = { ipv4: '192.0.2.2', ipv6: '2001:db8::2' };
const portOf = (length: number) => 9800 + LENGTHS.indexOf(length);

let stealth: StealthLab;
beforeAll(async () => {
  stealth = await openStealthLab();
  const { server, controls } = stealth;
  for (const length of LENGTHS) {
    const knock = { ...stealth.knock(server), intlen: length };
    const serving = start(server, [PYTHON, CROWD, 'serve', '::', String(portOf(length))], {
      knock,
      env: { KNOCK_TIMEOUT: '1' },
    });
    // Listening alone is before the library's report.
    await untilSays(serving, 'serving');
  }
  process.kill(controls.server.program.pid, 'SIGSTOP');
});
afterAll(() => {
  if (stealth) process.kill(stealth.controls.server.program.pid, 'SIGCONT');
  stealth?.close();
});

/** What came of each of five connections that send `sent` bytes, of which `intlen` are protected. */
async function connecting(address: string, length: number, intlen: number, sent: number) {
  const command = [PYTHON, CROWD, 'connect', address, String(portOf(length)), '5', String(sent)];
  const outcome = await run(stealth.client, command, { knock: { ...stealth.knock(stealth.client), intlen } });
  return JSON.parse(outcome.stdout);
}

describe.each(Object.values(ADDRESSES))('%s', (address) => {
  test.each(LENGTHS)('%i protected bytes are inspected without the control process', async (length) => {
    expect(await connecting(address, length, length, length)).toEqual({ ok: 5 });
    expect(await connecting(address, length, length, length + 300)).toEqual({ ok: 5 });
  });

  test('what does not pass needs it, and is reset without it', async () => {
    expect(await connecting(address, 24, 25, 300)).toEqual({ ECONNRESET: 5 });
  });
});
