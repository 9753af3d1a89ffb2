import { expect, test } from 'vitest';
import { EngineError, NOTE_BYTES } from '../../ts/engine/engine.ts';
import { createEngine, kernelHasKnock } from '../../ts/engine/select.ts';
import {
  decodeMark,
  decodeNote,
  ECHOES_BYTES,
  EMPTY_MARK,
  encodeGuardConfig,
  encodeMark,
  encodeNote,
  GUARD_CONFIG_BYTES,
  MAPS,
  MARK_BYTES,
  NAMED_BYTES,
  NOTE_VALUE_BYTES,
  refusalText,
  SYNS_BYTES,
  TOKENS_BYTES,
} from '../../ts/engine/stock/layout.ts';
import { COUNTS_BYTES, FOLLOWING_BYTES, LISTENER_BYTES } from '../../ts/engine/stock/recordLayout.ts';
import { loadBpf, mapInfo } from '../../ts/sys/libbpf.ts';

test('the codecs have the sizes that the kernel knows', () => {
  const armed = loadBpf('armed.bpf.o');
  const sizes = Object.values(MAPS).map((name) => mapInfo(armed.map(name)));
  armed.close();
  expect(sizes.map(({ name, valueSize }) => [name, valueSize])).toEqual([
    [MAPS.armed, MARK_BYTES],
    [MAPS.notes, NOTE_VALUE_BYTES],
    [MAPS.echoes, ECHOES_BYTES],
    [MAPS.syns, SYNS_BYTES],
    [MAPS.tokens, TOKENS_BYTES],
    [MAPS.secrets, NAMED_BYTES],
    [MAPS.listeners, LISTENER_BYTES],
    [MAPS.counts, COUNTS_BYTES],
    [MAPS.following, FOLLOWING_BYTES],
    [MAPS.events, 0],
  ]);
  const guard = loadBpf('guard.bpf.o');
  const rodata = mapInfo(guard.map('.rodata')).valueSize;
  guard.close();
  expect(rodata).toBe(GUARD_CONFIG_BYTES);
});

test('marks and notes come back as they were', () => {
  const fields = Object.keys(EMPTY_MARK) as (keyof typeof EMPTY_MARK)[];
  const mark = { ...EMPTY_MARK, ...Object.fromEntries(fields.map((field, i) => [field, 0xfffffff0 + i])) };
  expect(decodeMark(encodeMark(mark))).toEqual(mark);
  for (const length of [0, 1, NOTE_BYTES]) {
    const note = new Uint8Array(length).fill(7);
    expect(decodeNote(encodeNote(note))).toEqual(note);
  }
  expect(() => encodeNote(new Uint8Array(NOTE_BYTES + 1))).toThrow('a note of 2401 bytes; at most 2400');
});

test('a guard gets the secret as it is, and is told of what it accepts', () => {
  const words = (config: Buffer) => [64, 68, 72, 76].map((offset) => config.readUInt32LE(offset));
  const secret = Uint8Array.from({ length: 64 }, (_, i) => i);
  const config = encodeGuardConfig(secret, { integrity: true });
  expect([...config.subarray(0, 64)]).toEqual([...secret]);
  expect(words(config)).toEqual([1, 0, 1, 0]);
  const none = encodeGuardConfig(undefined, { named: true, refuseReplays: true });
  expect(none.subarray(0, 64).every((byte) => byte === 0)).toBe(true);
  expect(words(none)).toEqual([0, 1, 0, 1]);
});

test('every refusal has its words', () => {
  expect(refusalText(0)).toBeUndefined();
  for (let reason = 1; reason <= 6; reason++)
    expect(refusalText(reason)).toMatch(/^the SYN was held back: .{20}/);
  expect(refusalText(99)).toContain('reason 99');
});

test('the choice of an engine', () => {
  expect(kernelHasKnock()).toBe(false);
  expect(() => createEngine('knock')).toThrow(EngineError);
  expect(() => createEngine('knock')).toThrow('this kernel has no TCP_STEALTH');
});
