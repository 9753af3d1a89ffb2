import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileOf } from '../../ts/config/secretNames.ts';
import { SecretSet } from '../../ts/control/secretSet.ts';
import { SecretWatch } from '../../ts/control/secretWatch.ts';
import { until } from '../lab/program.ts';
import { PaperSlots } from './paperSlots.ts';

let base: string;
let folder: string;
let slots: PaperSlots;
let set: SecretSet;
let watch: SecretWatch;
let said: string[];
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'knockify-watch-'));
  folder = join(base, 'etc', 'secrets.d');
  said = [];
  slots = new PaperSlots();
  set = new SecretSet(folder, slots);
  const say = (text: string) => said.push(text.replaceAll(folder, '.'));
  const user = process.geteuid?.() ?? 0;
  watch = new SecretWatch(set, { user, mayBeMissing: true, say, complain: say });
});
afterEach(() => {
  watch.close();
  rmSync(base, { recursive: true, force: true });
});

function put(file: string, mode = 0o600): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(base, 'draft'), `secret in ${file}`, { mode });
  renameSync(join(base, 'draft'), join(folder, file));
}

const saying = (text: string) => until(text, () => said.includes(text));

describe('a watched folder', () => {
  it('is noticed to change: files that come, go, are opened up and closed again', async () => {
    put('alice.secret');
    watch.look();
    put('bob.secret');
    await saying('secret bob: accepted from now on');
    rmSync(join(folder, 'alice.secret'));
    await saying('secret alice: revoked');
    chmodSync(join(folder, 'bob.secret'), 0o644);
    await saying('secret bob: revoked');
    expect(said.at(-1)).toMatch(/^\.\/bob\.secret is not accepted: permissions 0644/);
    expect(slots.slots.size).toBe(0);
    chmodSync(join(folder, 'bob.secret'), 0o600);
    await until('bob is back', () => set.size === 1);
  });

  it('need not be there yet, and may go and come back', async () => {
    watch.look();
    expect(said).toEqual([]);
    put('alice.secret');
    await saying('secret alice: accepted from now on');
    rmSync(join(base, 'etc'), { recursive: true });
    await saying('secret alice: revoked');
    put('alice.secret');
    await until('alice is back', () => set.size === 1);
    renameSync(folder, `${folder}.gone`);
    await until('alice is gone', () => set.size === 0);
  });

  it('is looked at when the time of an old secret is over', async () => {
    put('alice.secret');
    const time = Math.ceil(Date.now() / 1000) * 1000 + 1000;
    put(fileOf('alice', time));
    watch.look();
    expect(said).toEqual(['named secrets: alice, alice (old)']);
    await saying('secret alice (old): its time is over');
    expect(Date.now()).toBeGreaterThanOrEqual(time);
    expect([...slots.slots.keys()]).toEqual([1]);
  });

  it('is looked at again when that failed', async () => {
    put('alice.secret');
    slots.failing = true;
    watch.look();
    expect(said).toEqual(['.: no more']);
    slots.failing = false;
    await until('alice is accepted', () => set.size === 1);
  });

  it('is left alone once that is over', async () => {
    put('alice.secret');
    watch.look();
    watch.close();
    put('bob.secret');
    utimesSync(folder, 1, 1);
    await sleep(100);
    watch.look();
    expect(set.size).toBe(1);
  });
});
