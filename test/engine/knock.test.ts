import { beforeEach, describe, expect, test, vi } from 'vitest';
import type * as Libc from '../../ts/sys/libc.ts';

/** The engine for a patched kernel against one that only records: no kernel here has the patch. */

const { calls, state } = vi.hoisted(() => ({ calls: [] as string[], state: { tcp: 7, cookie: 1n } }));

vi.mock('../../ts/sys/libc.ts', async (original) => {
  const answers: Record<string, () => Buffer> = {
    SO_COOKIE: () => Buffer.from(BigUint64Array.of(state.cookie).buffer),
    SO_NETNS_COOKIE: () => Buffer.alloc(8, 1),
    TCP_INFO: () => Buffer.of(state.tcp),
  };
  const numbers: Record<string, number> = { SO_DOMAIN: 2, SO_TYPE: 1, SO_PROTOCOL: 6, TCP_MAXSEG: 536 };
  return {
    ...(await original<typeof Libc>()),
    socket: () => 99,
    close: () => {},
    getBytes: (_: number, option: string) => answers[option]?.(),
    getUint: (_: number, option: string) => numbers[option] ?? 0,
    setBytes: (_: number, option: string, value: Uint8Array) => calls.push(`${option} ${value.length}`),
    setInt: (_: number, option: string, value: number) => calls.push(`${option} ${value}`),
    writeIsn: (_: number, isn: number) => calls.push(`ISN ${isn}`),
  };
});

vi.mock('../../ts/sys/sequences.ts', () => ({
  readForgotten: () => ({ maxSegment: 536, windowClamp: 0, quickAck: 0 }),
  defer: () => {
    calls.push('defer');
    state.tcp = 2;
    return true;
  },
  undoDeferral: () => {
    calls.push('undo');
    state.tcp = 7;
  },
  forbidDeferral: () => calls.push('forbid'),
  stopListening: () => {
    calls.push('stop listening');
    state.tcp = 7;
  },
}));

const { KnockEngine } = await import('../../ts/engine/knock.ts');

const secret = new Uint8Array(64).fill(1);
const peer = { address: Uint8Array.of(192, 0, 2, 1), port: 1, sockaddr: new Uint8Array(16) };
const FD = 5;

beforeEach(() => {
  calls.length = 0;
  state.tcp = 7;
  state.cookie++;
});

describe('a client', () => {
  test('arms with the secret alone', () => {
    const engine = new KnockEngine();
    engine.arm(FD, peer, secret);
    expect(calls).toEqual(['TCP_STEALTH 64']);
    expect(engine.phase(FD)).toBe('armed');
    engine.close();
  });

  test('names the secret before the payload', () => {
    const engine = new KnockEngine();
    engine.arm(FD, peer, secret, new Uint8Array(28));
    expect(calls).toEqual(['TCP_STEALTH 64', 'TCP_STEALTH_INTEGRITY 28']);
    engine.close();
  });

  test('can send no plain SYN while its connect is delayed', () => {
    const engine = new KnockEngine();
    engine.defer(FD, peer);
    expect(calls).toEqual(['ISN 0', 'TCP_STEALTH 64', 'defer']);
    expect(engine.phase(FD)).toBe('deferred');
    calls.length = 0;
    engine.arm(FD, peer, secret, new Uint8Array(4));
    expect(calls).toEqual(['undo', 'ISN 0', 'TCP_STEALTH 64', 'TCP_STEALTH_INTEGRITY 4']);
    expect(engine.phase(FD)).toBe('armed');
    engine.close();
  });

  test('takes away the number of an earlier connect, which the kernel would keep', () => {
    const engine = new KnockEngine();
    engine.arm(FD, peer, secret);
    engine.release(FD);
    calls.length = 0;
    engine.arm(FD, peer, secret);
    expect(calls).toEqual(['ISN 0', 'TCP_STEALTH 64']);
    engine.close();
  });

  test('is fresh again once released', () => {
    const engine = new KnockEngine();
    engine.defer(FD, peer);
    engine.release(FD);
    expect(engine.phase(FD)).toBe('fresh');
    expect(calls.at(-1)).toBe('undo');
    engine.close();
  });
});

describe('a listener', () => {
  test.each([
    { protectedLength: 0, expected: ['TCP_STEALTH 64'] },
    { protectedLength: 28, expected: ['TCP_STEALTH 64', 'TCP_STEALTH_INTEGRITY_LEN 28'] },
  ])('protects $protectedLength bytes', ({ protectedLength, expected }) => {
    const engine = new KnockEngine();
    engine.guard(FD, { secret, protectedLength });
    expect(calls).toEqual(expected);
    state.tcp = 10;
    expect(engine.phase(FD)).toBe('guarded');
    expect(engine.inspectAccepted(FD, { secret, protectedLength })).toEqual({ pass: true });
    engine.close();
  });

  test('that listens already is made to listen anew, so that nobody unchecked stays in its queue', () => {
    const engine = new KnockEngine();
    state.tcp = 10;
    expect(engine.phase(FD)).toBe('listening');
    engine.guard(FD, { secret, protectedLength: 0 });
    expect(calls).toEqual(['stop listening', 'TCP_STEALTH 64']);
    state.tcp = 10;
    expect(engine.phase(FD)).toBe('guarded');
    engine.close();
  });

  test('takes no more bytes than the kernel', () => {
    const engine = new KnockEngine();
    expect(() => engine.guard(FD, { secret, protectedLength: 65_536 })).toThrow('at most 65535 bytes');
    engine.close();
  });
});

test('notes go with the socket, not with the descriptor', () => {
  const engine = new KnockEngine();
  engine.writeNote(FD, Uint8Array.of(1, 2));
  expect(engine.readNote(FD)).toEqual(Uint8Array.of(1, 2));
  state.cookie++;
  expect(engine.readNote(FD)).toBeUndefined();
  state.cookie--;
  engine.dropNote(FD);
  expect(engine.readNote(FD)).toBeUndefined();
  engine.close();
});
