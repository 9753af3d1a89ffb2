import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encode } from '../../ts/spec/codec.ts';
import { sockaddrOf } from '../control/sockaddrs.ts';
import { capturing } from './capture.ts';
import { startControl } from './control.ts';
import { afflict } from './doom.ts';
import { type Lab, openLab } from './netns.ts';
import { syns } from './packets.ts';
import { PYTHON, run } from './program.ts';

/** Clients that would have the control process wait for them, so that it answers nobody else. */

const RACING = fileURLToPath(new URL('racing.py', import.meta.url));
const PORT = 8795;

let lab: Lab;
beforeAll(() => {
  lab = openLab();
});
afterAll(() => lab?.close());

function connectMessage(): string {
  const peer = new Uint8Array(28);
  const sockaddr = sockaddrOf(lab.server.addresses.ipv4, PORT);
  peer.set(sockaddr);
  const settings = Buffer.from('KNOCK_SECRET=fine\0');
  const rc = { rc_path: new Uint8Array(), rc_error: 0 };
  const message = encode({ kind: 'connect', settings, ...rc, peer, peer_size: sockaddr.length });
  return `${Buffer.from(message).toString('hex')}\n`;
}

test('a connect that is not delayed after all keeps nobody waiting, and no SYN leaves', {
  timeout: 120_000,
}, async () => {
  const control = await startControl(lab, lab.client);
  // Time enough to clear the option between the control process's setting it and its connect().
  const slow = await afflict(control, 'connect', 'delay_enter=200000');
  const { result, packets } = await capturing(lab, () =>
    run(lab.client, [PYTHON, RACING, control.socket], { input: connectMessage(), timeout: 90_000 }),
  );
  await slow.end();
  expect(result).toMatchObject({ status: 0, stderr: '', stdout: 'not delayed\nnot delayed\n' });
  expect(syns(packets)).toEqual([]);
});
