import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { padSecret } from '../../ts/stealth/secret.ts';
import { AF_INET } from '../../ts/sys/libc.ts';
import { capturing } from '../lab/capture.ts';
import { filtersOn } from '../lab/filters.ts';
import { inside, type Lab, openLab, setSysctl } from '../lab/netns.ts';
import { syns } from '../lab/packets.ts';
import { takeApart } from '../lab/syn.ts';
import {
  eventually,
  forced,
  outcomeOf,
  peerAt,
  startGuarded,
  startWorker,
  WAYS,
  type Way,
  type Worker,
} from './remote.ts';

/** Engines that are killed, restarted, run side by side, or lack a capability. */

const SECRET = 'Magic secret string';
const secret = padSecret(Buffer.from(SECRET));
const PORT = 4242;
const NOTE = Buffer.from('what the delayed connect was about');

let lab: Lab;
/** Holds the sockets, as an application does. */
let program: Worker;
let engines: Worker[];

beforeEach(async () => {
  lab = openLab();
  // A SYN that is held back is tried again twice a second, and by default given up before slow engines have started.
  setSysctl(lab.client, 'net.ipv4.tcp_syn_retries', 100);
  engines = [];
  program = await startWorker(lab.client);
});
afterEach(async () => {
  for (const engine of engines) await engine.kill();
  await program?.stop();
  lab?.close();
});

async function startEngine(way: Way, prefix: readonly string[] = []): Promise<Worker> {
  const worker = await startWorker(lab.client, prefix);
  engines.push(worker);
  await worker.app.startEngine(forced(way));
  return worker;
}

let gifts = 0;

/** The descriptor under which `worker` gets the program's socket. */
async function lend(fd: number, worker: Worker): Promise<number> {
  const path = `${lab.directory}/gift-${gifts++}`;
  const listener = await worker.app.openGift(path);
  await program.app.give(path, fd);
  return eventually(() => worker.app.takeGift(listener).catch(() => undefined), 'a descriptor');
}

/** Filters of ours on the interface. */
function filters(): string[] {
  return filtersOn(lab.client).flatMap(({ way, name }) =>
    name.startsWith('knock_') ? `${way} ${name}` : [],
  );
}

describe.each(WAYS)('%s', (way) => {
  const BOTH = [`${way} knock_ingress`, `${way} knock_egress`];

  test('a delayed socket sends nothing after its engine was killed; the next engine goes on with it', async () => {
    const fd = await program.app.socket(AF_INET);
    const peer = peerAt(lab.server, 'ipv4', PORT);
    const first = await startEngine(way);
    const lent = await lend(fd, first);
    await first.engine.defer(lent, peer);
    await first.engine.writeNote(lent, NOTE);
    await first.kill();
    const { packets } = await capturing(lab, async () => {
      await program.app.write(fd, Buffer.from('data that must not leave'));
      await sleep(1_200);
    });
    expect(packets).toEqual([]);
    expect(filters()).toEqual(BOTH);
    const second = await startEngine(way);
    expect(filters()).toEqual(BOTH);
    const again = await lend(fd, second);
    expect(await second.engine.phase(again)).toBe('deferred');
    expect(Buffer.from((await second.engine.readNote(again)) ?? [])).toEqual(NOTE);
    await second.engine.dropNote(again);
    expect(await second.engine.readNote(again)).toBeUndefined();
    const { packets: sent } = await capturing(lab, async () => {
      const { isn } = await second.engine.arm(again, peer, secret);
      await program.libc.connect(fd, peer.sockaddr);
      await outcomeOf(program, fd);
      return isn;
    });
    expect(syns(sent)).toHaveLength(1);
  });

  test('killed in the middle of arming: no SYN leaves, and the next engine arms the socket all the same', async () => {
    const server = await startWorker(lab.server);
    await server.app.startEngine(forced(way));
    await startGuarded(server, 'ipv4', PORT, secret);
    const fd = await program.app.socket(AF_INET);
    const peer = peerAt(lab.server, 'ipv4', PORT);
    const first = await startEngine(way);
    const lent = await lend(fd, first);
    await first.engine.defer(lent, peer);
    await first.libc.disconnect(lent);
    await first.libc.setInt(lent, 'IP_LOCAL_PORT_RANGE', 40_000 | (40_000 << 16));
    await first.libc.setInt(lent, 'TCP_REPAIR', 1);
    await first.kill();
    // In repair mode the kernel would call the connection established: the shim looks before it connects.
    expect(await program.libc.getUint(fd, 'TCP_REPAIR')).toBe(1);
    await program.libc.setInt(fd, 'TCP_REPAIR', -1);
    const { packets } = await capturing(lab, async () => {
      await program.libc.setInt(fd, 'TCP_FASTOPEN_CONNECT', 0);
      await program.libc.connect(fd, peer.sockaddr);
      await sleep(1_200);
    });
    expect(packets).toEqual([]);
    await program.libc.disconnect(fd);
    await program.libc.setInt(fd, 'TCP_REPAIR', 1);
    const second = await startEngine(way);
    const again = await lend(fd, second);
    expect(await second.engine.phase(again)).toBe('fresh');
    await second.engine.arm(again, peer, secret);
    await program.libc.connect(fd, peer.sockaddr);
    expect(await outcomeOf(program, fd)).toBe(0);
    expect(await second.engine.settle(again)).toBeUndefined();
    expect(await program.libc.getUint(fd, 'IP_LOCAL_PORT_RANGE')).toBe(0);
    await server.stop();
  });

  test('an armed socket connects with its token after its engine was killed', async () => {
    const server = await startWorker(lab.server);
    await server.app.startEngine(forced(way));
    await startGuarded(server, 'ipv4', PORT, secret);
    const fd = await program.app.socket(AF_INET);
    const peer = peerAt(lab.server, 'ipv4', PORT);
    const engine = await startEngine(way);
    await engine.engine.arm(await lend(fd, engine), peer, secret);
    await engine.kill();
    const { packets } = await capturing(lab, async () => {
      await program.libc.connect(fd, peer.sockaddr);
      expect(await outcomeOf(program, fd)).toBe(0);
    });
    const [syn] = syns(packets);
    expect(syn && takeApart(syn, SECRET).computed).toBe(syn?.sequence);
    await server.stop();
  });

  test('a guard outlives its engine, and the next engine knows it', async () => {
    const fd = await program.app.socket(AF_INET);
    await program.libc.bind(fd, peerAt(lab.client, 'ipv4', PORT).sockaddr);
    const first = await startEngine(way);
    const lent = await lend(fd, first);
    await first.engine.guard(lent, { secret, protectedLength: 0 });
    await program.app.listen(fd, 'echo');
    expect(await first.engine.phase(lent)).toBe('guarded');
    await first.kill();
    const second = await startEngine(way);
    const again = await lend(fd, second);
    expect(await second.engine.phase(again)).toBe('guarded');
    await second.engine.guard(again, { secret, protectedLength: 0 });
    const peer = peerAt(lab.client, 'ipv4', PORT);
    const plain = await program.app.socket(AF_INET);
    await program.libc.connect(plain, peer.sockaddr);
    expect(await outcomeOf(program, plain)).toBe(111);
    const armed = await second.app.socket(AF_INET);
    await second.engine.arm(armed, peer, secret);
    await second.libc.connect(armed, peer.sockaddr);
    expect(await outcomeOf(second, armed)).toBe(0);
  });

  test('a listener that was there before stops listening, and keeps its port, to get its guard', async () => {
    const fd = await program.app.socket(AF_INET);
    const peer = peerAt(lab.client, 'ipv4', PORT + 1);
    await program.libc.bind(fd, peer.sockaddr);
    await program.app.listen(fd, 'idle');
    const engine = await startEngine(way);
    const lent = await lend(fd, engine);
    expect(await engine.engine.phase(lent)).toBe('listening');
    await engine.engine.guard(lent, { secret, protectedLength: 0 });
    expect(await engine.engine.phase(lent)).toBe('fresh');
    const plain = await program.app.socket(AF_INET);
    await program.libc.connect(plain, peer.sockaddr);
    expect(await outcomeOf(program, plain)).toBe(111);
    const other = await program.app.socket(AF_INET);
    await expect(program.libc.bind(other, peer.sockaddr)).rejects.toThrow('EADDRINUSE');
  });

  describe('closing', () => {
    test('leaves the filters, for sockets that only the kernel knows', async () => {
      const engine = await startEngine(way);
      await engine.app.stopEngine(false);
      expect(filters()).toEqual(BOTH);
    });

    test('purging takes filters and clsact away', async () => {
      const engine = await startEngine(way);
      await engine.app.stopEngine(true);
      expect(filters()).toEqual([]);
      expect(inside(lab.client, ['tc', 'qdisc', 'show'])).not.toContain('clsact');
    });

    test('purging spares the filters while another engine works', async () => {
      const first = await startEngine(way);
      const second = await startEngine(way);
      await first.app.stopEngine(true);
      expect(filters()).toEqual(BOTH);
      await second.app.stopEngine(true);
      expect(filters()).toEqual([]);
    });
  });

  describe('capabilities', () => {
    const as = (...capabilities: string[]) => {
      const list = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
      return [
        'setpriv',
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        `--inh-caps=${list}`,
        `--ambient-caps=${list}`,
      ];
    };

    test('CAP_NET_ADMIN and CAP_BPF suffice', async () => {
      const engine = await startEngine(way, as('net_admin', 'bpf'));
      const listener = await startGuarded(engine, 'ipv4', PORT, secret, { protectedLength: 4, kind: 'idle' });
      const fd = await engine.app.socket(AF_INET);
      const peer = peerAt(lab.client, 'ipv4', PORT);
      await engine.engine.arm(fd, peer, secret, Buffer.from('1234'));
      await engine.libc.connect(fd, peer.sockaddr);
      expect(await outcomeOf(engine, fd)).toBe(0);
      await engine.app.write(fd, Buffer.from('1234'));
      const accepted = await eventually(async () => (await engine.app.accepted(listener))[0], 'a connection');
      expect(await engine.engine.inspectAccepted(accepted, { secret, protectedLength: 4 })).toEqual({
        pass: true,
      });
      await engine.app.stopEngine(true);
    });

    test('without CAP_SYS_ADMIN a predecessor stays in charge of its sockets', async () => {
      const fd = await program.app.socket(AF_INET);
      const first = await startEngine(way);
      await first.engine.defer(await lend(fd, first), peerAt(lab.server, 'ipv4', PORT));
      await first.kill();
      const second = await startEngine(way, as('net_admin', 'bpf'));
      expect(filters().sort()).toEqual([...BOTH, ...BOTH].sort());
      const { packets } = await capturing(lab, async () => {
        await program.app.write(fd, Buffer.from('data that must not leave'));
        await sleep(1_200);
      });
      expect(packets).toEqual([]);
      await second.app.stopEngine(true);
      expect(filters()).toEqual(BOTH);
    });

    test.each([
      { has: 'net_admin', says: 'needs CAP_BPF, which this process lacks' },
      { has: 'bpf', says: 'needs CAP_NET_ADMIN in this network namespace' },
    ])('with $has alone the error says: $says', async ({ has, says }) => {
      await expect(startEngine(way, as(has))).rejects.toThrow(says);
    });
  });
});
