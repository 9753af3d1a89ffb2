import { beforeEach, expect, test } from 'vitest';
import { Admission } from '../../ts/control/admission.ts';

const UID = 1000;

/** Keeps clients of the same users. */
class Others {
  readonly here = new Map<number, number>();
  readonly told = new Map<number, number>();
  clients(uid: number): number {
    return this.here.get(uid) ?? 0;
  }
  elsewhere(uid: number, clients: number): void {
    this.told.set(uid, clients);
  }
}

let others: Others;
let admission: Admission<string>;
beforeEach(() => {
  others = new Others();
  admission = new Admission(3, others);
});

const ask = (name: string, uid = UID) => admission.ask(uid, () => name);

test('clients that are elsewhere count', () => {
  others.here.set(UID, 2);
  expect([ask('a'), ask('b'), ask('other', 0)]).toEqual(['admitted', 'waits', 'admitted']);
  expect(others.told).toEqual(
    new Map([
      [UID, 2],
      [0, 1],
    ]),
  );
});

test('who waits is admitted when those elsewhere are gone, in turn, and no more than there is room for', () => {
  others.here.set(UID, 3);
  for (const name of ['a', 'b', 'c']) expect(ask(name)).toBe('waits');
  expect(admission.admit()).toEqual([]);
  others.here.set(UID, 1);
  expect(admission.admit()).toEqual(['a', 'b']);
  expect(others.told.get(UID)).toBe(3);
  others.here.set(UID, 0);
  expect(admission.admit()).toEqual(['c']);
  expect(admission.admit()).toEqual([]);
});

test('who leaves makes room for the next, unless it is taken elsewhere', () => {
  for (const name of ['a', 'b', 'c', 'd']) ask(name);
  expect(admission.leave(UID)).toBe('d');
  expect(ask('e')).toBe('waits');
  others.here.set(UID, 1);
  expect(admission.leave(UID)).toBeUndefined();
  expect(others.told.get(UID)).toBe(3);
});

test('users without clients are forgotten, and those who have some are not', () => {
  for (const name of ['a', 'b', 'c']) ask(name);
  ask('other', 0);
  admission.leave(0);
  admission.tidy();
  expect([ask('d'), ask('another', 0)]).toEqual(['waits', 'admitted']);
});
