import { getHeapSpaceStatistics } from 'node:v8';
import { beforeEach, expect, test } from 'vitest';
import { ByDescriptor } from '../../ts/sys/byDescriptor.ts';

let names: ByDescriptor<string>;
beforeEach(() => {
  names = new ByDescriptor();
});

test('has what was put in last, until it is taken out', () => {
  names.set(7, 'first');
  names.set(7, 'second');
  names.set(3, 'other');
  expect([names.get(7), names.get(3), names.get(5), names.get(8), names.size]).toEqual([
    ...['second', 'other', undefined, undefined],
    2,
  ]);
  expect([names.delete(7), names.delete(7), names.delete(100), names.size]).toEqual([true, false, false, 1]);
  expect(names.values()).toEqual(['other']);
});

test('may be changed by whoever goes through it', () => {
  for (const fd of [4, 5, 6]) names.set(fd, `${fd}`);
  for (const name of names.values()) names.delete(Number(name));
  expect([names.size, names.values()]).toEqual([0, []]);
});

test('leaves nothing among the old objects of what comes and goes', () => {
  const old = () =>
    getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0;
  const clients = new ByDescriptor<object>();
  clients.set(3, {});
  // Enough for several collections of the young objects: after these it is an old one itself.
  const litter: object[] = [];
  for (let i = 0; i < 1_000_000; i++) litter[i % 10] = { i };
  const before = old();
  for (let i = 0; i < 300_000; i++) {
    clients.set(20, { i });
    clients.delete(20);
  }
  // With a Map it is some 10 MB.
  expect(old() - before).toBeLessThan(3e6);
});
