import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Message } from '../../ts/spec/codec.ts';
import { actions } from '../../ts/spec/messages.ts';
import { padSecret } from '../../ts/stealth/secret.ts';
import { AF_INET } from '../../ts/sys/libc.ts';
import { capturing } from '../lab/capture.ts';
import { crowdOut } from '../lab/filters.ts';
import { type Family, inside, type Lab, openLab, setSysctl } from '../lab/netns.ts';
import { syns } from '../lab/packets.ts';
import { takeApart } from '../lab/syn.ts';
import {
  eventually,
  FAMILY,
  outcomeOf,
  peerAt,
  sockaddr,
  startGuarded,
  startWorker,
  WAYS,
  type Worker,
} from './remote.ts';

/** Connects that are answered without JavaScript: with the right token, or not at all. */

const SECRET = 'Magic secret string';
const secret = padSecret(Buffer.from(SECRET));
const SETTINGS = `KNOCK_SECRET=${SECRET}\0`;
const PORT = 4242;
const EINPROGRESS = 115;

let lab: Lab;
let client: Worker;
let server: Worker;
let path: string;
let listener: number;
let fd: number;

beforeAll(async () => {
  lab = openLab();
  [client, server] = await Promise.all([startWorker(lab.client), startWorker(lab.server)]);
  await client.app.startEngine();
  await server.app.startEngine();
  await startGuarded(server, 'ipv6', PORT, secret);
  path = join(lab.directory, 'prompt.sock');
  listener = await client.prompt.listen(path);
  fd = await client.app.socket(AF_INET);
  await ask(request(there()), secret);
  await client.app.close(fd);
});
afterAll(async () => {
  await client?.stop();
  await server?.stop();
  lab?.close();
});
beforeEach(async () => {
  // What a control process does whenever it hears of interfaces.
  await client.engine.follow();
  fd = await client.app.socket(AF_INET);
});

function request(address: Uint8Array, settings = SETTINGS, extra: Partial<Message<'connect'>> = {}) {
  const peer = new Uint8Array(28);
  peer.set(address);
  const rc = { rc_path: new Uint8Array(), rc_error: 0 };
  return {
    kind: 'connect' as const,
    settings: Buffer.from(settings),
    ...rc,
    peer,
    peer_size: address.length,
    ...extra,
  };
}

const there = () => peerAt(lab.server, 'ipv4', PORT).sockaddr;
const nowhere = () => sockaddr('ipv4', '198.51.100.1', PORT);
const ask = (message: Message<'connect'>, lesson?: Uint8Array) =>
  client.prompt.ask(listener, path, message, fd, lesson);
const actionOf = (message: Message | undefined) =>
  message?.kind === 'verdict' ? actions.find(({ id }) => id === message.action)?.name : undefined;

describe('a connect like an earlier one', () => {
  test.each<Family>(['ipv4', 'ipv6', 'mapped'])('%s: carries the token of its own', async (family) => {
    const socket = await client.app.socket(FAMILY[family]);
    const peer = peerAt(lab.server, family, PORT);
    const { packets } = await capturing(lab, async () => {
      // To capture changes the interface.
      await client.engine.follow();
      const {
        client: asker,
        left,
        verdict,
      } = await client.prompt.ask(listener, path, request(peer.sockaddr), socket);
      expect({ left, action: actionOf(verdict) }).toEqual({ left: 'no', action: 'proceed' });
      expect(verdict).toMatchObject({ log_level: 2, follow: 0, peer_size: peer.sockaddr.length });
      await client.libc.connect(socket, peer.sockaddr);
      expect(await outcomeOf(client, socket)).toBe(0);
      expect(await client.prompt.report(asker, 0, 0)).toEqual({ left: undefined, verdict: undefined });
    });
    const [syn] = syns(packets);
    expect(syn && takeApart(syn, SECRET).computed).toBe(syn?.sequence);
    await client.app.close(socket);
  });

  test('gives back the pinned port, and answers a client that waits', async () => {
    const { client: asker } = await ask(request(there()));
    expect(await client.libc.getUint(fd, 'IP_LOCAL_PORT_RANGE')).not.toBe(0);
    await client.libc.connect(fd, there());
    const { left, verdict } = await client.prompt.report(asker, EINPROGRESS, 1);
    expect({ left, action: actionOf(verdict) }).toEqual({ left: undefined, action: 'pass' });
    expect(await client.libc.getUint(fd, 'IP_LOCAL_PORT_RANGE')).toBe(0);
    await client.app.close(fd);
  });

  test('is answered also when its client has hesitated', async () => {
    const asker = await client.prompt.silent(path);
    expect(await client.prompt.answer(listener, asker)).toMatchObject({ left: 'no', verdict: undefined });
    await client.prompt.say(asker, request(there()), fd);
    const { left, verdict } = await client.prompt.answer(-1, asker);
    expect({ left, action: actionOf(verdict) }).toEqual({ left: 'no', action: 'proceed' });
    await client.app.close(fd);
  });

  test('lets go of the socket when its client hangs up', async () => {
    const { client: asker } = await ask(request(there()));
    expect((await client.prompt.hangUp(asker)).left).toMatchObject({ report: 'the end' });
    await client.app.close(fd);
  });
});

describe('is left as it came:', () => {
  const settled = { left: 'as it came', verdict: undefined };
  const cases: Readonly<Record<string, () => Message<'connect'>>> = {
    'other settings': () => request(there(), 'KNOCK_SECRET=another\0'),
    'longer settings': () => request(there(), `${SETTINGS}KNOCK_INTLEN=4\0`),
    'an rc file': () => request(there(), SETTINGS, { rc_path: Buffer.from('/etc/knock.rc') }),
    'the unspecified address': () => request(sockaddr('ipv4', '0.0.0.0', PORT)),
    'another family': () => request(Buffer.from('01000000000000000000000000000000', 'hex')),
    'a cut address': () => request(there().subarray(0, 8)),
  };
  for (const [name, message] of Object.entries(cases))
    test(name, async () => {
      expect(await ask(message())).toMatchObject(settled);
      expect(await client.engine.phase(fd)).toBe('fresh');
      await client.app.close(fd);
    });

  test('what another user was taught', async () => {
    chmodSync(lab.directory, 0o711);
    chmodSync(path, 0o666);
    const other = await startWorker(lab.client);
    await other.app.setUid(12_345);
    const socket = await other.app.socket(AF_INET);
    const asker = await other.prompt.silent(path);
    await other.prompt.say(asker, request(there()), socket);
    expect(await client.prompt.answer(listener, -1)).toMatchObject({ left: 'as it came' });
    await other.stop();
    await client.app.close(fd);
  });

  test('a socket with a note', async () => {
    await client.engine.writeNote(fd, Uint8Array.of(1));
    expect(await ask(request(there()))).toMatchObject(settled);
    await client.app.close(fd);
  });

  test('a socket that was armed before', async () => {
    const peer = peerAt(lab.server, 'ipv4', PORT);
    await client.engine.arm(fd, peer, secret);
    expect(await ask(request(there()))).toMatchObject(settled);
    expect(await client.engine.phase(fd)).toBe('armed');
    await client.app.close(fd);
  });

  test('a socket that is connecting', async () => {
    await client.libc.connect(fd, nowhere().fill(0, 4, 8).fill(127, 4, 5));
    const one = await client.app.socket(AF_INET);
    await client.engine.defer(one, peerAt(lab.server, 'ipv4', PORT));
    const outcome = await client.prompt.ask(listener, path, request(there()), one);
    expect(outcome).toMatchObject(settled);
    expect(await client.engine.phase(one)).toBe('deferred');
    for (const each of [fd, one]) await client.app.close(each);
  });
});

describe('is begun and left, and fresh once released:', () => {
  async function expectBegun(message = request(there())): Promise<void> {
    expect(await ask(message)).toMatchObject({ left: 'begun', verdict: undefined });
    await client.engine.release(fd);
    expect(await client.engine.phase(fd)).toBe('fresh');
    await client.app.close(fd);
  }

  test('no route', () => expectBegun(request(nowhere())));

  test('no Fast Open', async () => {
    setSysctl(lab.client, 'net.ipv4.tcp_fastopen', 0);
    try {
      await expectBegun();
    } finally {
      setSysctl(lab.client, 'net.ipv4.tcp_fastopen', 1);
    }
  });

  test('an interface that the engine has not seen yet', async () => {
    inside(lab.client, ['ip', 'link', 'add', 'late0', 'type', 'veth', 'peer', 'name', 'late1']);
    await expectBegun();
    await client.engine.follow();
    fd = await client.app.socket(AF_INET);
    expect(await ask(request(there()))).toMatchObject({ left: 'no' });
    await client.app.close(fd);
    inside(lab.client, ['ip', 'link', 'del', 'late0']);
    await client.engine.follow();
  });

  test('an interface that can not be covered, until it can', async () => {
    inside(lab.client, ['ip', 'link', 'add', 'late0', 'type', 'bridge']);
    crowdOut(lab.client, 'late0', WAYS[0]);
    await expect(client.engine.follow()).rejects.toThrow(/interface \d+ has/);
    expect(await ask(request(there()))).toMatchObject({ left: 'as it came', verdict: undefined });
    await client.app.close(fd);
    inside(lab.client, ['ip', 'link', 'del', 'late0']);
    await client.engine.follow();
    fd = await client.app.socket(AF_INET);
    await ask(request(there()), secret);
    await client.app.close(fd);
    fd = await client.app.socket(AF_INET);
    expect(await ask(request(there()))).toMatchObject({ left: 'no' });
    await client.app.close(fd);
  });
});

describe('an answered connect is left', () => {
  test('when its SYN was held back', async () => {
    const { client: asker } = await ask(request(there()));
    setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 0);
    await client.libc.connect(fd, there());
    setSysctl(lab.client, 'net.ipv4.tcp_timestamps', 1);
    const { left } = await client.prompt.report(asker, EINPROGRESS, 1);
    expect(left).toMatchObject({ logLevel: 2, uid: process.getuid?.() });
    expect(left?.report).toMatchObject({ kind: 'report', error: EINPROGRESS, waits: 1 });
    expect(await client.engine.settle(fd, left?.isn)).toContain('timestamp option');
    await client.engine.release(fd);
    await client.app.close(fd);
    await client.app.close(left?.socket ?? -1);
  });

  test('when nobody has reported it for long', async () => {
    for (let old = await client.prompt.overdue(0); old; old = await client.prompt.overdue(0))
      if (old.socket >= 0) await client.app.close(old.socket);
    await ask(request(there()));
    expect(await client.prompt.overdue(60_000)).toBeUndefined();
    const found = await eventually(() => client.prompt.overdue(1), 'an overdue connect');
    expect(found).toMatchObject({ report: 'nothing' });
    expect(await client.prompt.overdue(1)).toBeUndefined();
    await client.app.close(fd);
    await client.app.close(found.socket);
  });

  test('not settled, when the socket was armed anew since', async () => {
    const { client: asker } = await ask(request(there()));
    await client.engine.arm(fd, peerAt(lab.server, 'ipv4', PORT), secret);
    const pinned = await client.libc.getUint(fd, 'IP_LOCAL_PORT_RANGE');
    expect((await client.prompt.report(asker, 0, 0)).left).toBeUndefined();
    expect(await client.libc.getUint(fd, 'IP_LOCAL_PORT_RANGE')).toBe(pinned);
    await client.app.close(fd);
  });
});

test('keeps no more clients of a user than it may, and none for long that says nothing', async () => {
  for (let old = await client.prompt.overdue(0); old; old = await client.prompt.overdue(0))
    if (old.socket >= 0) await client.app.close(old.socket);
  const silent = [];
  for (let i = 0; i < 3; i++) silent.push(await client.prompt.silent(path));
  expect(await client.prompt.answer(listener, -1, undefined, 2)).toMatchObject({ left: 'as it came' });
  expect(await client.prompt.clients(process.getuid?.() ?? -1)).toBe(2);
  const found = await eventually(() => client.prompt.overdue(1), 'a silent client');
  expect(found).toMatchObject({ socket: -1, report: 'nothing' });
  silent.push(await client.prompt.silent(path));
  expect(await client.prompt.answer(listener, -1, undefined, 2)).toMatchObject({ left: 'no' });
  for (const each of silent) await client.app.close(each);
  await client.app.close(fd);
});

test('keeps the fewer, the more of the user are elsewhere', async () => {
  for (let old = await client.prompt.overdue(0); old; old = await client.prompt.overdue(0))
    if (old.socket >= 0) await client.app.close(old.socket);
  const uid = process.getuid?.() ?? -1;
  for (const each of [uid, uid + 1]) await client.prompt.elsewhere(each, 2);
  const silent = [await client.prompt.silent(path)];
  expect(await client.prompt.answer(listener, -1, undefined, 2)).toMatchObject({ left: 'as it came' });
  for (const each of [uid, uid + 1]) await client.prompt.elsewhere(each, 0);
  silent.push(await client.prompt.silent(path));
  expect(await client.prompt.answer(listener, -1, undefined, 2)).toMatchObject({ left: 'no' });
  for (const each of [...silent, fd]) await client.app.close(each);
});

test('counts what it has answered', async () => {
  const before = await client.prompt.answered();
  await ask(request(there()));
  await ask(request(there(), 'KNOCK_SECRET=unheard of\0'));
  expect(await client.prompt.answered()).toBe(before + 1);
  await client.app.close(fd);
});

describe('what is taught', () => {
  const other = (i: number) => request(there(), `KNOCK_SECRET=${i}\0`);

  test('is for what was asked last, and nothing else', async () => {
    const { question } = await ask(other(-1));
    await ask(other(-2));
    await client.prompt.teachLate(question, secret);
    expect(await ask(other(-1))).toMatchObject({ left: 'as it came' });
    expect(await ask(other(-2))).toMatchObject({ left: 'as it came' });
    await client.app.close(fd);
  });

  test('is not for what somebody else asked by the same descriptor', async () => {
    const { client: before } = await ask(other(-3));
    await client.app.close(before);
    // Not understood here, so what was asked before is all that there is.
    await ask(request(there(), 'KNOCK_SECRET=mine\0', { peer_size: 29 }), secret);
    expect(await ask(other(-3))).toMatchObject({ left: 'as it came' });
    await client.app.close(fd);
  });

  test('is unlearnt when it is too much, and can be learnt again', async () => {
    for (let i = 0; i < 70; i++) await ask(other(i), secret);
    expect(await ask(request(there()), secret)).toMatchObject({ left: 'as it came' });
    expect(await ask(request(there()))).toMatchObject({ left: 'no' });
    await client.app.close(fd);
  });
});
