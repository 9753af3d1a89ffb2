import { release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { padSecret } from '../../ts/stealth/secret.ts';
import { AF_INET } from '../../ts/sys/libc.ts';
import { capturing } from '../lab/capture.ts';
import { attachStranger, crowdOut, FOREIGN, filtersOn, knockFilters, PASS, strip } from '../lab/filters.ts';
import { type Host, inside, type Lab, openLab } from '../lab/netns.ts';
import {
  eventually,
  forced,
  outcomeOf,
  peerAt,
  sockaddr,
  startGuarded,
  startWorker,
  WAYS,
  type Way,
  type Worker,
} from './remote.ts';

/** Where an engine's filters hang, and what they have for neighbours. */

const secret = padSecret(Buffer.from('Magic secret string'));
const PORT = 4242;
const NAMES = ['knock_ingress', 'knock_egress'];
/** enum tcx_action_base. */
const DROP = 2;
const UNPRIVILEGED = ['setpriv', '--bounding-set=-all,+net_admin,+bpf', '--inh-caps=-all', '--'];

let lab: Lab;
let workers: Worker[];

beforeEach(() => {
  lab = openLab();
  workers = [];
});
afterEach(async () => {
  for (const worker of workers) await worker.kill();
  lab?.close();
});

async function startEngine(way: Way, prefix: readonly string[] = [], host = lab.client): Promise<Worker> {
  const worker = await startWorker(host, prefix);
  workers.push(worker);
  await worker.app.startEngine(forced(way));
  return worker;
}

/** All on the client's interface. */
const shown = () => filtersOn(lab.client).map(({ way, name }) => `${way} ${name}`);
const both = (way: Way) => NAMES.map((name) => `${way} ${name}`);
const tc = (...command: string[]) => inside(lab.client, ['tc', ...command]);

async function expectConnects(client: Worker): Promise<void> {
  const fd = await client.app.socket(AF_INET);
  const peer = peerAt(lab.server, 'ipv4', PORT);
  await client.engine.arm(fd, peer, secret);
  await client.libc.connect(fd, peer.sockaddr);
  expect(await outcomeOf(client, fd)).toBe(0);
  expect(await client.engine.settle(fd)).toBeUndefined();
  await client.app.close(fd);
}

function mapsOf(host: Host, program: number): number[] {
  return JSON.parse(inside(host, ['bpftool', '-j', 'prog', 'show', 'id', String(program)])).map_ids;
}

/** A SYN passes our filter, and then meets another that drops it. */
async function expectSilence(client: Worker): Promise<void> {
  const fd = await client.app.socket(AF_INET);
  const peer = peerAt(lab.server, 'ipv4', PORT);
  await client.engine.arm(fd, peer, secret);
  await client.libc.connect(fd, peer.sockaddr);
  await sleep(200);
  expect(await client.engine.phase(fd)).toBe('foreign');
  expect(await client.engine.settle(fd)).toBeUndefined();
  await client.app.close(fd);
}

test('this kernel has tcx, unless it is older than 6.6', () => {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  expect(WAYS[0]).toBe(major > 6 || (major === 6 && minor >= 6) ? 'tcx' : 'clsact');
});

describe.each(WAYS)('%s', (way) => {
  test('an interface that appears later is covered, also after its filters were removed', async () => {
    const client = await startEngine(way);
    const peer = { address: Uint8Array.of(203, 0, 113, 9), port: PORT };
    const address = sockaddr('ipv4', '203.0.113.9', PORT);
    inside(lab.client, ['ip', 'link', 'add', 'late0', 'type', 'veth', 'peer', 'name', 'late1']);
    inside(lab.client, ['ip', 'addr', 'add', '203.0.113.1/24', 'dev', 'late0']);
    for (const name of ['late0', 'late1']) inside(lab.client, ['ip', 'link', 'set', name, 'up']);
    for (const round of ['new', 'stripped']) {
      if (round === 'stripped') {
        strip(lab.client, 'late0');
        expect(knockFilters(lab.client, 'late0')).toEqual([]);
        // Netlink tells nothing of tcx: whoever keeps an engine has it look again now and then.
        if (way === 'tcx') await client.engine.follow(true);
      }
      const fd = await client.app.socket(AF_INET);
      await client.engine.defer(fd, { ...peer, sockaddr: address });
      expect(knockFilters(lab.client, 'late0')).toEqual(NAMES);
      await client.app.close(fd);
    }
    inside(lab.client, ['ip', 'link', 'del', 'late0']);
    const fd = await client.app.socket(AF_INET);
    await client.engine.defer(fd, peerAt(lab.server, 'ipv4', PORT));
  });

  test('beside one that works nothing is replaced, and its end leaves nothing uncovered', async () => {
    const first = await startEngine(way);
    const before = filtersOn(lab.client);
    const second = await startEngine(way);
    if (way === 'tcx') expect(filtersOn(lab.client)).toEqual(before);
    await first.app.stopEngine(true);
    expect(knockFilters(lab.client)).toEqual(NAMES);
    await second.kill();
    const third = await startEngine(way);
    expect(knockFilters(lab.client)).toEqual(NAMES);
    for (const { id } of filtersOn(lab.client)) expect(before.map(({ id }) => id)).not.toContain(id);
    await third.app.stopEngine(true);
    expect(shown()).toEqual([]);
  });

  test('looking again changes nothing where nothing is lost, whichever engine hung it there', async () => {
    const first = await startEngine(way);
    const second = await startEngine(way);
    const before = filtersOn(lab.client);
    for (const { engine } of [first, second, first]) await engine.follow(true);
    expect(filtersOn(lab.client)).toEqual(before);
    inside(lab.client, ['ip', 'link', 'add', 'late0', 'type', 'bridge']);
    for (const { engine } of [first, second]) await engine.follow(true);
    expect(knockFilters(lab.client, 'late0')).toEqual(NAMES);
  });

  test('an interface that goes to another namespace is covered there, by maps that are not those here', async () => {
    await startEngine(way);
    inside(lab.client, ['ip', 'link', 'add', 'mover0', 'type', 'veth', 'peer', 'name', 'mover1']);
    await workers[0]?.engine.follow();
    expect(knockFilters(lab.client, 'mover0')).toEqual(NAMES);
    const mine = filtersOn(lab.client, 'mover0').map(({ id }) => id);
    inside(lab.client, ['ip', 'link', 'set', 'mover0', 'netns', lab.server.namespace]);
    await startEngine(way, [], lab.server);
    const theirs = filtersOn(lab.server, 'mover0').filter(({ id }) => !mine.includes(id));
    expect(theirs.map(({ name }) => name)).toEqual(NAMES);
    const maps = (ids: readonly number[]) => ids.flatMap((id) => mapsOf(lab.client, id));
    const shared = maps(mine);
    expect(maps(theirs.map(({ id }) => id)).filter((id) => shared.includes(id))).toEqual([]);
  });

  test('as long as one interface can not be covered nothing is armed, and the others are covered', async () => {
    const client = await startEngine(way);
    const peer = peerAt(lab.server, 'ipv4', PORT);
    for (const name of ['late0', 'late1']) inside(lab.client, ['ip', 'link', 'add', name, 'type', 'bridge']);
    const mend = crowdOut(lab.client, 'late0', way);
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(client.engine.follow()).rejects.toThrow(/interface \d+ has/);
      const fd = await client.app.socket(AF_INET);
      await expect(client.engine.arm(fd, peer, secret)).rejects.toThrow(/interface \d+ has/);
      await expect(client.engine.defer(fd, peer)).rejects.toThrow(/interface \d+ has/);
      expect(await client.engine.phase(fd)).toBe('fresh');
      await client.app.close(fd);
    }
    expect(knockFilters(lab.client, 'late1')).toEqual(NAMES);
    mend();
    const fd = await client.app.socket(AF_INET);
    await client.engine.arm(fd, peer, secret);
    expect(knockFilters(lab.client, 'late0')).toEqual(NAMES);
  });

  test("others' filters are asked, too, and stay", async () => {
    tc('qdisc', 'add', 'dev', lab.client.device, 'clsact');
    const server = await startEngine(way, [], lab.server);
    await startGuarded(server, 'ipv4', PORT, secret);
    const client = await startEngine(way);
    await expectConnects(client);
    const drop = ['protocol', 'ip', 'bpf', 'da', 'bytecode', '1,6 0 0 2'];
    tc('filter', 'add', 'dev', lab.client.device, 'egress', 'prio', '9', ...drop);
    await expectSilence(client);
    await client.app.stopEngine(true);
    expect(tc('filter', 'show', 'dev', lab.client.device, 'egress')).toContain('bytecode');
    expect(knockFilters(lab.client)).toEqual([]);
  });
});

describe('clsact', () => {
  test('purging spares one that was there before', async () => {
    const device = ['dev', lab.client.device];
    tc('qdisc', 'add', ...device, 'clsact');
    const engine = await startEngine('clsact');
    tc('filter', 'add', 'dev', 'lo', 'egress', 'prio', '9', ...FOREIGN);
    await engine.app.stopEngine(true);
    expect(tc('qdisc', 'show', ...device)).toContain('clsact');
    expect(tc('filter', 'show', 'dev', 'lo', 'egress')).toContain('bytecode');
    expect(shown()).toEqual([]);
  });

  test('a filter of another kind in our place is an error that says where', async () => {
    crowdOut(lab.client, lab.client.device, 'clsact');
    const started = startEngine('clsact');
    await expect(started).rejects.toThrow(/interface \d+ has a filter of another kind at priority 1/);
    expect(tc('qdisc', 'show', 'dev', 'lo')).not.toContain('clsact');
    expect(knockFilters(lab.client)).toEqual([]);
  });

  test("the queueing discipline 'ingress', which sees nothing of what leaves, is an error that says where", async () => {
    const device = ['dev', lab.client.device];
    tc('qdisc', 'add', ...device, 'ingress');
    const started = startEngine('clsact');
    await expect(started).rejects.toThrow(/interface \d+ has the queueing discipline 'ingress'/);
    expect(tc('filter', 'show', ...device, 'ingress')).toBe('');
    expect(tc('qdisc', 'show', 'dev', 'lo')).not.toContain('clsact');
    tc('qdisc', 'del', ...device, 'ingress');
    await startEngine('clsact');
    expect(shown()).toEqual(both('clsact'));
  });
});

describe.each(WAYS.filter((way) => way === 'tcx'))('%s alone', (way) => {
  test('needs no queueing discipline, and leaves none', async () => {
    await startEngine(way);
    expect(shown()).toEqual(both(way));
    expect(tc('qdisc', 'show')).not.toContain('clsact');
  });

  test("ours come before others' that would let a SYN by", async () => {
    for (const direction of ['ingress', 'egress'] as const) attachStranger(lab.client, direction, PASS);
    const first = await startEngine(way);
    const order = ['tcx knock_ingress', 'tcx stranger', 'tcx knock_egress', 'tcx stranger'];
    expect(shown()).toEqual(order);
    await first.kill();
    for (const direction of ['ingress', 'egress'] as const) attachStranger(lab.client, direction, PASS);
    await startEngine(way);
    expect(shown()).toEqual(
      order.flatMap((name) => (name.endsWith('stranger') ? ['tcx stranger', name] : name)),
    );
  });

  test("others' programs are asked, too, and stay", async () => {
    attachStranger(lab.client, 'egress', DROP);
    const engine = await startEngine(way);
    await expectSilence(engine);
    await engine.app.stopEngine(true);
    expect(shown()).toEqual(['tcx stranger']);
  });

  test('an engine that can not start takes back what it hung', async () => {
    crowdOut(lab.client, lab.client.device, way);
    const started = startEngine(way);
    await expect(started).rejects.toThrow(/interface \d+ has 63 programs/);
    expect(new Set(shown())).toEqual(new Set(['tcx stranger']));
    expect(knockFilters(lab.client, 'lo')).toEqual([]);
  });

  describe('after a control process that used clsact', () => {
    /** Its socket is delayed, and it was killed. */
    async function predecessor(): Promise<{ send(): Promise<void>; lend(to: Worker): Promise<number> }> {
      const program = await startWorker(lab.client);
      workers.push(program);
      const old = await startEngine('clsact');
      const fd = await program.app.socket(AF_INET);
      const lend = async (to: Worker) => {
        const path = `${lab.directory}/gift-${to.pid}`;
        const listener = await to.app.openGift(path);
        await program.app.give(path, fd);
        return eventually(() => to.app.takeGift(listener).catch(() => undefined), 'a descriptor');
      };
      await old.engine.defer(await lend(old), peerAt(lab.server, 'ipv4', PORT));
      await old.kill();
      const send = async () => {
        await program.app.write(fd, Buffer.from('data that must not leave'));
        await sleep(1_200);
      };
      return { send, lend };
    }

    test('one that came while it worked leaves nothing of it to the next', async () => {
      const old = await startEngine('clsact');
      const between = await startEngine(way);
      for (const worker of [old, between]) await worker.kill();
      expect(new Set(shown())).toEqual(new Set([...both('clsact'), ...both(way)]));
      await startEngine(way);
      expect(shown()).toEqual(both(way));
      expect(tc('qdisc', 'show')).not.toContain('clsact');
    });

    test('the next takes over its sockets and its place', async () => {
      const { send, lend } = await predecessor();
      expect(shown()).toEqual(both('clsact'));
      const next = await startEngine(way);
      expect(shown()).toEqual(both(way));
      expect(tc('qdisc', 'show')).not.toContain('clsact');
      expect(await next.engine.phase(await lend(next))).toBe('deferred');
      expect((await capturing(lab, send)).packets).toEqual([]);
    });

    test('one that can not have its maps leaves it in charge of its sockets', async () => {
      const { send } = await predecessor();
      const next = await startEngine(way, UNPRIVILEGED);
      expect(shown().sort()).toEqual([...both('clsact'), ...both(way)].sort());
      expect((await capturing(lab, send)).packets).toEqual([]);
      await next.app.stopEngine(true);
      expect(shown()).toEqual(both('clsact'));
    });

    test("nor does one after that, which takes over the other's", async () => {
      const { send } = await predecessor();
      await (await startEngine(way, UNPRIVILEGED)).kill();
      await startEngine(way);
      expect(shown().sort()).toEqual([...both('clsact'), ...both(way)].sort());
      expect((await capturing(lab, send)).packets).toEqual([]);
    });
  });
});
