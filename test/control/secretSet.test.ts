import { beforeEach, describe, expect, it } from 'vitest';
import { fileOf } from '../../ts/config/secretNames.ts';
import type { FolderContents, FoundSecret } from '../../ts/control/secretFolder.ts';
import { SecretSet } from '../../ts/control/secretSet.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { PaperSlots } from './paperSlots.ts';

const NOW = Date.UTC(2026, 10, 21);
const LATER = NOW + 60_000;

let slots: PaperSlots;
let set: SecretSet;
beforeEach(() => {
  slots = new PaperSlots();
  set = new SecretSet('/secrets.d', slots);
});

/** `alice=text` is a secret, `alice@LATER=text` an old one. */
function contents(...texts: string[]): FolderContents {
  const found = texts.map((text): FoundSecret => {
    const [, name = '', time, secret = ''] = /^([\w.-]+)(?:@(\d+))?=(.*)$/.exec(text) ?? [];
    const until = time === undefined ? undefined : Number(time);
    return { file: fileOf(name, until), name, until, secret: padSecret(Buffer.from(secret)) };
  });
  return { found, refused: [] };
}

const look = (now: number, ...texts: string[]) => set.update(contents(...texts), now).said;
const refusals = () => set.refused.map(({ path, why }) => `${path}: ${why}`);

describe('a set of named secrets', () => {
  it('accepts what is in the folder, and tells whose a slot is', () => {
    expect(look(NOW, 'alice=a', 'bob=b')).toEqual(['named secrets: alice, bob']);
    expect(slots.texts()).toEqual({ 1: 'a', 2: 'b' });
    expect([set.size, set.nameOf(0), set.nameOf(1), set.nameOf(2), set.nameOf(3)]).toEqual([
      2,
      undefined,
      'alice',
      'bob',
      undefined,
    ]);
  });

  it('leaves the slots to another control process as long as that has another folder', () => {
    slots.keeper = '/elsewhere';
    slots.write(5, padSecret(Buffer.from('theirs')));
    expect(look(NOW)).toEqual([]);
    expect(refusals()).toEqual([]);
    expect(look(NOW, 'alice=a')).toEqual([]);
    expect(slots.texts()).toEqual({ 5: 'theirs' });
    expect(refusals()).toEqual([
      expect.stringMatching(/^\/secrets\.d: another control process .*--no-secrets$/),
    ]);
    expect([set.size, set.nameOf(5)]).toEqual([0, undefined]);
    slots.keeper = undefined;
    expect(look(NOW, 'alice=a')).toEqual(['secret alice: accepted from now on']);
    expect(slots.texts()).toEqual({ 1: 'a' });
    expect(refusals()).toEqual([]);
  });

  it('says nothing of an empty folder, and touches no slot when nothing has changed', () => {
    expect(look(NOW)).toEqual([]);
    look(NOW, 'alice=a');
    slots.calls.length = 0;
    expect(look(NOW, 'alice=a')).toEqual([]);
    expect(slots.calls).toEqual([]);
  });

  it('adds to the lowest free slot and empties that of a secret that is revoked', () => {
    look(NOW, 'alice=a', 'bob=b', 'carol=c');
    expect(look(NOW, 'bob=b', 'carol=c')).toEqual(['secret alice: revoked']);
    expect(slots.texts()).toEqual({ 2: 'b', 3: 'c' });
    expect(set.nameOf(1)).toBe('alice (revoked)');
    expect(look(NOW, 'bob=b', 'carol=c', 'dave=d')).toEqual(['secret dave: accepted from now on']);
    expect(slots.texts()).toEqual({ 1: 'd', 2: 'b', 3: 'c' });
    expect(set.nameOf(1)).toBe('dave');
  });

  it('does not take what a slot was used for before for its present owner', () => {
    look(NOW, 'alice=a');
    look(NOW + 1000);
    look(NOW + 2000, 'carol=c');
    const at = (time: number) => set.nameOf(1, time);
    expect([at(NOW + 500), at(NOW + 1999), at(NOW + 2000), at(LATER)]).toEqual([
      ...['alice (revoked)', 'alice (revoked)', 'carol', 'carol'],
    ]);
    look(NOW + 3000);
    expect(at(NOW + 2500)).toBe('carol (revoked)');
  });

  it('tells the slots of old ones when their time ends at each look: the clock may have been set', () => {
    look(NOW, 'alice=new', `alice@${LATER}=a`);
    slots.calls.length = 0;
    look(NOW, 'alice=new', `alice@${LATER}=a`);
    expect(slots.calls).toEqual(['limit 2']);
  });

  it('keeps a secret that is replaced in its slot, until its time is over', () => {
    look(NOW, 'alice=a');
    const said = look(NOW, 'alice=new', `alice@${LATER}=a`);
    expect(said).toEqual(['secret alice: replaced; the old one is accepted until 2026-11-21T00:01:00.000Z']);
    expect(slots.texts()).toEqual({ 1: 'a', 2: 'new' });
    expect(slots.slots.get(1)?.until).toBe(LATER);
    expect([set.nameOf(1), set.nameOf(2), set.size]).toEqual(['alice (old)', 'alice', 2]);
    // The folder's reader leaves it out then.
    expect(look(LATER, 'alice=new')).toEqual(['secret alice (old): its time is over']);
    expect(slots.texts()).toEqual({ 2: 'new' });
    expect(set.nameOf(1)).toBe('alice (revoked)');
  });

  it('tells a replacement without grace, an old secret that is dropped early, and one of several', () => {
    look(NOW, 'alice=a', 'bob=b');
    expect(look(NOW, 'alice=new', 'bob=b')).toEqual([
      'secret alice: replaced; the old one is not accepted any more',
    ]);
    look(NOW, 'alice=newer', `alice@${LATER}=new`, 'bob=b');
    look(NOW, 'alice=newest', `alice@${LATER + 1000}=newer`, `alice@${LATER}=new`, 'bob=b');
    expect(Object.values(slots.texts()).sort()).toEqual(['b', 'new', 'newer', 'newest']);
    expect(look(NOW, 'alice=newest', `alice@${LATER}=new`, 'bob=b')).toEqual(['secret alice (old): revoked']);
    expect(look(NOW, 'bob=b')).toEqual(['secret alice: revoked', 'secret alice (old): revoked']);
  });

  it('refuses a secret that goes by two names, and who was accepted first stays', () => {
    look(NOW, 'bob=same');
    expect(look(NOW, 'alice=same', 'bob=same')).toEqual([]);
    expect(refusals()).toEqual(['/secrets.d/alice.secret: it is the same secret as bob.secret']);
    expect(look(NOW, 'alice=same')).toEqual(['secret alice: accepted from now on', 'secret bob: revoked']);
    expect(refusals()).toEqual([]);
  });

  it('takes the moment between the two steps of a rotation for no mistake', () => {
    look(NOW, 'alice=a');
    expect(look(NOW, 'alice=a', `alice@${LATER}=a`)).toEqual([]);
    expect(refusals()).toEqual([]);
    expect(slots.slots.get(1)?.until).toBeUndefined();
  });

  it("refuses the control process's own secret", () => {
    set = new SecretSet('/secrets.d', slots, padSecret(Buffer.from('own')));
    look(NOW, 'alice=own', 'bob=b');
    expect(refusals()).toEqual([
      "/secrets.d/alice.secret: it is the control process's own secret, which is accepted in any case",
    ]);
    expect(slots.texts()).toEqual({ 1: 'b' });
  });

  it('has room for 64, refuses a 65th by name, and takes it once there is room', () => {
    const users = Array.from({ length: 64 }, (_, i) => `user${i}=${i}`);
    look(NOW, ...users);
    expect(set.size).toBe(64);
    const { refused } = set.update(contents('aaa=new', ...users), NOW);
    expect(refused).toEqual([
      {
        path: '/secrets.d/aaa.secret',
        why: '64 are accepted already, which is all there is room for; revoke one',
      },
    ]);
    // Said once.
    expect(set.update(contents('aaa=new', ...users), NOW).refused).toEqual([]);
    expect(look(NOW, 'aaa=new', ...users.slice(1))).toEqual([
      'secret aaa: accepted from now on',
      'secret user0: revoked',
    ]);
  });

  it('goes on with the slots that a control process before it filled, and empties those that are stale', () => {
    look(NOW, 'alice=a', 'bob=b', 'carol=c', `carol@${LATER}=old`);
    slots.calls.length = 0;
    set = new SecretSet('/secrets.d', slots);
    expect(look(NOW, 'bob=b', `carol@${LATER}=old`)).toEqual(['named secrets: bob, carol (old)']);
    expect(slots.texts()).toEqual({ 2: 'b', 4: 'old' });
    expect([set.nameOf(2), set.nameOf(4)]).toEqual(['bob', 'carol (old)']);
    expect(slots.calls).not.toContain('write 2');
  });

  it('comes to the right end after it failed halfway', () => {
    look(NOW, 'alice=a');
    slots.failing = true;
    expect(() => look(NOW, 'bob=b')).toThrow('no more');
    expect(slots.texts()).toEqual({});
    slots.failing = false;
    expect(look(NOW, 'bob=b')).toEqual(['secret alice: revoked', 'secret bob: accepted from now on']);
    expect(slots.texts()).toEqual({ 1: 'b' });
  });
});
