import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EngineError } from '../../ts/engine/engine.ts';
import { MAPS } from '../../ts/engine/stock/layout.ts';
import { decodeEvent, EVENT_BYTES, emptyCounts, placesOf } from '../../ts/engine/stock/recordLayout.ts';
import { KernelRecords } from '../../ts/engine/stock/records.ts';
import { type BpfObject, loadBpf, processors, writeMapValue } from '../../ts/sys/libbpf.ts';
import {
  AF_INET,
  AF_INET6,
  bind,
  close,
  getBytes,
  socket as makeSocket,
  SOCK_STREAM,
} from '../../ts/sys/libc.ts';
import { listen } from '../../ts/sys/tcp.ts';

/** Listeners of this process, on ports of the kernel's choice: nothing is sent, and nothing is guarded. */

const GUARDIAN = { pid: 4711, uid: 1000, program: 'a program with a long name' };
const PROTECTION = { secret: new Uint8Array(64), protectedLength: 0 };

let programs: BpfObject;
let records: KernelRecords;
let open: number[];
beforeEach(() => {
  programs = loadBpf('armed.bpf.o');
  records = new KernelRecords({
    ...{ armed: programs.map(MAPS.armed), listeners: programs.map(MAPS.listeners) },
    ...{ counts: programs.map(MAPS.counts), following: programs.map(MAPS.following) },
    events: programs.map(MAPS.events),
  });
  open = [];
});
afterEach(() => {
  for (const fd of open) close(fd);
  records.close();
  programs.close();
});

function bound(family = AF_INET): number {
  const fd = makeSocket(family, SOCK_STREAM, 0);
  open.push(fd);
  const sockaddr = Buffer.alloc(family === AF_INET ? 16 : 28);
  sockaddr.writeUInt16LE(family);
  if (family === AF_INET) sockaddr.set([127, 0, 0, 1], 4);
  else sockaddr.set([1], 23);
  bind(fd, sockaddr);
  return fd;
}

const cookieOf = (fd: number) => getBytes(fd, 'SO_COOKIE', 8).readBigUInt64LE();
const key = (place: number) => Buffer.from(Uint32Array.of(place).buffer);

test('listeners are there from listen(2) to close(2), with who guards them', () => {
  const [ipv4, ipv6, other] = [bound(), bound(AF_INET6), bound()];
  records.enter(ipv4, GUARDIAN, PROTECTION);
  records.enter(ipv6, GUARDIAN, { ...PROTECTION, protectedLength: 9, allowReplay: true });
  expect(records.listeners()).toEqual([]);
  for (const fd of [ipv4, ipv6, other]) listen(fd, 1);
  const guardian = { ...GUARDIAN, program: 'a program with ' };
  const common = { guardian, interface: 0, syns: { authorised: 0, rejected: 0 }, last: undefined };
  const found = records.listeners();
  expect(found).toMatchObject([
    { ...common, cookie: cookieOf(ipv4), protectedLength: 0, allowReplay: false },
    { ...common, cookie: cookieOf(ipv6), protectedLength: 9, allowReplay: true },
  ]);
  expect(found.map(({ address }) => [...address])).toEqual([
    [127, 0, 0, 1],
    [...Array(15).fill(0), 1],
  ]);
  expect(Math.abs((found[0]?.since ?? 0) - Date.now())).toBeLessThan(60_000);
  records.change(ipv4, { ...PROTECTION, protectedLength: 4 });
  records.change(other, PROTECTION);
  expect(records.listeners()).toMatchObject([{ guardian, protectedLength: 4 }, {}]);
  close(open.shift() ?? -1);
  expect(records.listeners()).toMatchObject([{ cookie: cookieOf(ipv6) }]);
});

describe('the places of counts', () => {
  const take = (fd: number, cookies: (index: number) => bigint) => {
    const all = placesOf(cookieOf(fd));
    all.forEach((place, i) => {
      writeMapValue(programs.map(MAPS.counts), key(place), emptyCounts(cookies(i), processors()));
    });
  };

  test('that sockets had which are gone are taken', () => {
    const fd = bound();
    take(fd, (i) => 0xdead_0000n + BigInt(i));
    records.enter(fd, GUARDIAN, PROTECTION);
    listen(fd, 1);
    expect(records.listeners()).toMatchObject([{ syns: { authorised: 0, rejected: 0 } }]);
  });

  test('that others have are left to them, and the listener is listed without counts', () => {
    const others = Array.from({ length: 8 }, () => bound());
    for (const other of others) {
      records.enter(other, GUARDIAN, PROTECTION);
      listen(other, 1);
    }
    const fd = bound();
    take(fd, (i) => cookieOf(others[i] ?? -1));
    expect(() => records.enter(fd, GUARDIAN, PROTECTION)).toThrow(EngineError);
    listen(fd, 1);
    const found = records.listeners().find(({ cookie }) => cookie === cookieOf(fd));
    expect(found).toMatchObject({ guardian: { pid: 4711 }, syns: undefined });
  });
});

test('an event says of which family it is by its addresses', () => {
  const event = Buffer.alloc(EVENT_BYTES);
  event.set([192, 0, 2, 1], 16);
  event.set([192, 0, 2, 2], 32);
  event.writeUInt16BE(40_000, 48);
  event.writeUInt16BE(22, 50);
  event.writeUInt8(2, 52);
  event.writeUInt8(64, 53);
  expect(decodeEvent(event)).toEqual({
    ...{ time: 0n, cookie: 0n, verdict: 'replayed', secret: 64 },
    source: { address: Uint8Array.of(192, 0, 2, 1), port: 40_000 },
    destination: { address: Uint8Array.of(192, 0, 2, 2), port: 22 },
  });
  event.set([1], 47);
  expect(decodeEvent(event).source.address).toHaveLength(16);
});
