import { expect, test, vi } from 'vitest';
import { EngineError } from '../../ts/engine/engine.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken, integrityHash } from '../../ts/stealth/token.ts';
import type * as Libc from '../../ts/sys/libc.ts';

/** The one token that the kernel can't send: an ISN of 0 would mean "choose one yourself". */

const clock = vi.hoisted(() => ({ readings: [] as number[] }));

vi.mock('../../ts/sys/libc.ts', async (original) => ({
  ...(await original<typeof Libc>()),
  getUint: () => clock.readings.shift() ?? 0,
}));

const { currentToken } = await import('../../ts/engine/stock/arming.ts');

const secret = padSecret(Buffer.from('Magic secret string'));
const peer = { address: Uint8Array.of(192, 18, 42, 42), port: 4242, sockaddr: new Uint8Array(16) };
/** Integrity mode makes it easy to find: IH is 0 for one payload in 2^16, and the rest of AV for one TSval in 2^16. */
const payload = firstOf(
  (i) => Buffer.from(String(i)),
  (bytes) => integrityHash(secret, bytes) === 0,
);
const isnAt = (tsval: number) => computeToken({ secret, destination: peer, tsval, integrityHash: 0 }).isn;
const zeroAt = firstOf(
  (i) => i + 1,
  (tsval) => isnAt(tsval) === 0,
);

function firstOf<T>(make: (i: number) => T, fits: (value: T) => boolean): T {
  for (let i = 0; ; i++) {
    const value = make(i);
    if (fits(value)) return value;
  }
}

const source = Buffer.from('020000007f0000010000000000000000', 'hex');
const token = (timestamps: boolean) =>
  currentToken(1, { peer, secret, payload, source, tsval: clock.readings.shift() ?? 0, timestamps });

test('waits for the next tick of the timestamp clock', () => {
  clock.readings = [zeroAt, zeroAt, zeroAt + 1];
  expect(token(true)).toEqual({ isn: isnAt(zeroAt + 1), tsval: zeroAt + 1 });
});

test('gives up on a clock that stands still', { timeout: 120_000 }, () => {
  clock.readings = new Array(200_000).fill(zeroAt);
  expect(() => token(true)).toThrow(EngineError);
});
