import { expect, test, vi } from 'vitest';
import { EngineError } from '../../ts/engine/engine.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { computeToken, integrityHash } from '../../ts/stealth/token.ts';
import type * as Libc from '../../ts/sys/libc.ts';

/** The one token that the kernel can't send: an ISN of 0 would mean "choose one yourself". */

const clock = vi.hoisted(() => ({ readings: [] as number[] }));
const written = vi.hoisted(() => [] as number[]);

vi.mock('../../ts/sys/libc.ts', async (original) => ({
  ...(await original<typeof Libc>()),
  getsockname: () => Buffer.from('020000007f0000010000000000000000', 'hex'),
  getUint: (_: number, option: string) => (option === 'TCP_TIMESTAMP' ? (clock.readings.shift() ?? 0) : 0),
  setInt: () => {},
  disconnect: () => {},
  writeIsn: (_: number, isn: number) => written.push(isn),
}));

const { armDeferred } = await import('../../ts/engine/stock/arming.ts');
const { EMPTY_MARK } = await import('../../ts/engine/stock/layout.ts');
const { Marks } = await import('../../ts/engine/stock/marks.ts');

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

class Forgetful extends Marks {
  override write(): void {}
}
const arm = (timestamps: boolean) =>
  armDeferred(1, { peer, secret, payload, timestamps }, EMPTY_MARK, new Forgetful(0));

test('waits for the next tick of the timestamp clock', () => {
  clock.readings = [zeroAt, zeroAt, zeroAt + 1];
  expect(arm(true)).toEqual({ isn: isnAt(zeroAt + 1), tsval: zeroAt + 1 });
  expect(written).toEqual([isnAt(zeroAt + 1)]);
});

test('gives up on a clock that stands still', () => {
  clock.readings = new Array(200_000).fill(zeroAt);
  expect(() => arm(true)).toThrow(EngineError);
});
