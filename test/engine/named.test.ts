import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { padSecret } from '../../ts/stealth/secret.ts';
import { type Family, inside, type Lab, openLab } from '../lab/netns.ts';
import {
  eventually,
  FAMILY,
  outcomeOf,
  peerAt,
  readAll,
  startGuarded,
  startWorker,
  type Worker,
  writeAll,
} from './remote.ts';

/** Listeners that accept whatever secrets are in the slots of their network namespace. */

const secretOf = (name: string) => padSecret(Buffer.from(`the secret of ${name}`));
const SLOTS = 64;
const ECONNREFUSED = 111;
const AUTH = { ipv4: 4300, ipv6: 4301 } as const;
const INTEGRITY = { ipv4: 4310, ipv6: 4311 } as const;
const [BOTH, OWN] = [4320, 4321];
const FIRST = Buffer.from('the first sixteen bytes, and more');
const PROTECTED = 16;

let lab: Lab;
let server: Worker;
let client: Worker;
const listeners = new Map<number, number>();

/** CAP_NET_ADMIN and CAP_BPF alone: the verifier is stricter then. */
const UNPRIVILEGED = ['setpriv', '--bounding-set=-all,+net_admin,+bpf', '--inh-caps=-all', '--'];

beforeAll(async () => {
  lab = openLab();
  [server, client] = await Promise.all([startWorker(lab.server, UNPRIVILEGED), startWorker(lab.client)]);
  await Promise.all([server.app.startEngine(), client.app.startEngine()]);
  for (const family of ['ipv4', 'ipv6'] as const) {
    listeners.set(AUTH[family], await startGuarded(server, family, AUTH[family], undefined, { named: true }));
    const integrity = { named: true, protectedLength: PROTECTED, kind: 'idle' as const };
    listeners.set(
      INTEGRITY[family],
      await startGuarded(server, family, INTEGRITY[family], undefined, integrity),
    );
  }
  listeners.set(BOTH, await startGuarded(server, 'ipv4', BOTH, secretOf('all'), { named: true }));
  listeners.set(OWN, await startGuarded(server, 'ipv4', OWN, secretOf('all')));
});
afterAll(async () => {
  await Promise.all([client?.stop(), server?.stop()]);
  lab?.close();
});

/** 0 once connected, or the errno; the socket is closed, unless it is wanted. */
async function knock(name: string, port: number, family: Family = 'ipv4', payload?: Uint8Array) {
  const fd = await client.app.socket(FAMILY[family]);
  const peer = peerAt(lab.server, family, port);
  await client.engine.arm(fd, peer, secretOf(name), payload);
  await client.libc.connect(fd, peer.sockaddr);
  const outcome = await outcomeOf(client, fd);
  await client.engine.settle(fd);
  return { fd, outcome };
}

async function outcome(name: string, port: number, family: Family = 'ipv4'): Promise<number> {
  const { fd, outcome } = await knock(name, port, family);
  await client.app.close(fd);
  return outcome;
}

async function emptySlots(): Promise<void> {
  for (let slot = 1; slot <= SLOTS; slot++) await server.app.clearSlot(slot);
}

describe.each(['ipv4', 'ipv6'] as const)('%s', (family) => {
  beforeAll(async () => {
    await emptySlots();
    for (const [slot, name] of [
      [1, 'alice'],
      [2, 'bob'],
      [64, 'carol'],
    ] as const)
      await server.app.fillSlot(slot, secretOf(name));
  });

  test('each of them opens the port, and no other', async () => {
    for (const name of ['alice', 'bob', 'carol']) expect(await outcome(name, AUTH[family], family)).toBe(0);
    expect(await outcome('mallory', AUTH[family], family)).toBe(ECONNREFUSED);
  });

  test('one that is emptied opens it no more; the others do, and its connections go on', async () => {
    const { fd, outcome: connected } = await knock('bob', AUTH[family], family);
    expect(connected).toBe(0);
    await server.app.clearSlot(2);
    expect(await outcome('bob', AUTH[family], family)).toBe(ECONNREFUSED);
    for (const name of ['alice', 'carol']) expect(await outcome(name, AUTH[family], family)).toBe(0);
    await writeAll(client, fd, FIRST);
    expect(await readAll(client, fd, FIRST.length)).toEqual(FIRST);
    await client.app.close(fd);
    await server.app.fillSlot(2, secretOf('bob'));
    expect(await outcome('bob', AUTH[family], family)).toBe(0);
  });

  test('with integrity it is known which one it was', async () => {
    const listener = listeners.get(INTEGRITY[family]) ?? -1;
    const protection = { secret: undefined, named: true, protectedLength: PROTECTED };
    const inspected = async (name: string, payload: Uint8Array, revoke?: number) => {
      const before = (await server.app.accepted(listener)).length;
      const promised = FIRST.subarray(0, PROTECTED);
      const { fd } = await knock(name, INTEGRITY[family], family, promised);
      await writeAll(client, fd, payload);
      const accepted = await eventually(async () => {
        return (await server.app.accepted(listener))[before];
      }, 'an accepted connection');
      if (revoke !== undefined) await server.app.clearSlot(revoke);
      const inspection = await server.engine.inspectAccepted(accepted, protection);
      await client.app.close(fd);
      return inspection;
    };
    expect(await inspected('carol', FIRST)).toEqual({ pass: true, slot: 64 });
    expect(await inspected('alice', FIRST)).toEqual({ pass: true, slot: 1 });
    const others = Buffer.from('sixteen bytes, but not those');
    expect(await inspected('alice', others)).toEqual({ pass: false, reason: 'wrong first bytes', slot: 1 });
    expect(await inspected('alice', FIRST, 1)).toMatchObject({ pass: false, slot: 1 });
  });
});

describe('a listener', () => {
  beforeAll(async () => {
    await emptySlots();
    await server.app.fillSlot(1, secretOf('alice'));
  });

  test('with a secret of its own and the named ones accepts both', async () => {
    for (const name of ['all', 'alice']) expect(await outcome(name, BOTH)).toBe(0);
    expect(await outcome('bob', BOTH)).toBe(ECONNREFUSED);
  });

  test('with a secret of its own alone accepts nothing else', async () => {
    expect(await outcome('all', OWN)).toBe(0);
    expect(await outcome('alice', OWN)).toBe(ECONNREFUSED);
  });
});

describe('slots', () => {
  beforeAll(emptySlots);

  test('none filled: nobody gets in, with a secret of zero bytes neither', async () => {
    expect(await outcome('alice', AUTH.ipv4)).toBe(ECONNREFUSED);
    const fd = await client.app.socket(FAMILY.ipv4);
    const peer = peerAt(lab.server, 'ipv4', AUTH.ipv4);
    await client.engine.arm(fd, peer, new Uint8Array(64));
    await client.libc.connect(fd, peer.sockaddr);
    expect(await outcomeOf(client, fd)).toBe(ECONNREFUSED);
    await client.app.close(fd);
  });

  test('all 64 can be filled, and each counts', async () => {
    const names = Array.from({ length: SLOTS }, (_, i) => `user ${i + 1}`);
    for (const [i, name] of names.entries()) await server.app.fillSlot(i + 1, secretOf(name));
    for (const name of names) expect(await outcome(name, AUTH.ipv4), name).toBe(0);
    expect(await outcome('user 65', AUTH.ipv4)).toBe(ECONNREFUSED);
    await emptySlots();
    expect(await outcome('user 64', AUTH.ipv4)).toBe(ECONNREFUSED);
  });

  test('stop to count when their time is over, though nobody empties them', async () => {
    await server.app.fillSlot(3, secretOf('alice'), Date.now() + 60_000);
    expect(await outcome('alice', AUTH.ipv4)).toBe(0);
    await server.app.limitSlot(3, Date.now() + 100);
    await sleep(150);
    expect(await outcome('alice', AUTH.ipv4)).toBe(ECONNREFUSED);
    expect(Buffer.from((await server.app.readSlot(3)) ?? [])).toEqual(Buffer.from(secretOf('alice')));
    await server.app.limitSlot(3);
    expect(await outcome('alice', AUTH.ipv4)).toBe(0);
  });

  test('are zero once they are emptied', async () => {
    await server.app.fillSlot(5, secretOf('eve'));
    const dump = () => inside(lab.server, ['bpftool', '-j', 'map', 'dump', 'name', 'knock_secrets_1']);
    const hex = [...secretOf('eve').subarray(0, 16)].map(
      (byte) => `"0x${byte.toString(16).padStart(2, '0')}"`,
    );
    expect(dump().replaceAll(/\s/g, '')).toContain(hex.join(','));
    await server.app.clearSlot(5);
    expect(dump().replaceAll(/\s/g, '')).not.toContain(hex.join(','));
    expect(await server.app.readSlot(5)).toBeUndefined();
  });

  test('are not written over, and there is no 65th', async () => {
    await server.app.fillSlot(7, secretOf('eve'));
    await expect(server.app.fillSlot(7, secretOf('alice'))).rejects.toThrow('slot 7 is not empty');
    await expect(server.app.fillSlot(65, secretOf('alice'))).rejects.toThrow('there is no slot 65');
  });
});

test('the slots are whose they are, be the other from the same folder, as another user or with nothing in it', async () => {
  const place = openLab();
  const workers: Worker[] = [];
  const engineOf = async (prefix: readonly string[] = []) => {
    const worker = await startWorker(place.client, prefix);
    workers.push(worker);
    await worker.app.startEngine();
    return worker;
  };
  try {
    const ordinary = await engineOf([
      ...['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
      ...['--inh-caps=-all,+net_admin,+bpf', '--ambient-caps=-all,+net_admin,+bpf'],
    ]);
    const [first, second] = [await engineOf(), await engineOf()];
    expect(await ordinary.app.claimSlots('/secrets.d', true)).toBe(true);
    expect(await first.app.claimSlots('/secrets.d', true)).toBe(false);
    await ordinary.kill();
    expect(await first.app.claimSlots('/secrets.d', true)).toBe(true);
    expect(await second.app.claimSlots('/secrets.d', false)).toBe(false);
    expect(await second.app.claimSlots('/secrets.d', true)).toBe(true);
  } finally {
    for (const worker of workers) await worker.kill();
    place.close();
  }
});
