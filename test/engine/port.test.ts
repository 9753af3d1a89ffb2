import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  AF_INET,
  bind,
  close,
  getsockname,
  getUint,
  SOCK_STREAM,
  setInt,
  socket,
} from '../../ts/sys/libc.ts';
import { bindPort, pinPort } from '../../ts/sys/sequences.ts';

let fd: number;
beforeEach(() => {
  fd = socket(AF_INET, SOCK_STREAM, 0);
});
afterEach(() => close(fd));

function loopback(port: number): Buffer {
  const address = Buffer.from('020000007f0000010000000000000000', 'hex');
  address.writeUInt16BE(port, 2);
  return address;
}

/** A port that was free a moment ago. */
function freePort(): number {
  const other = socket(AF_INET, SOCK_STREAM, 0);
  bind(other, loopback(0));
  const port = getsockname(other).readUInt16BE(2);
  close(other);
  return port;
}

test('pinning', () => {
  pinPort(fd, loopback(65_000));
  expect(getUint(fd, 'IP_LOCAL_PORT_RANGE')).toBe(((65_000 << 16) | 65_000) >>> 0);
});

test('without IP_LOCAL_PORT_RANGE the port is bound', () => {
  const port = freePort();
  setInt(fd, 'IP_BIND_ADDRESS_NO_PORT', 1);
  bindPort(fd, loopback(port));
  expect(getsockname(fd).readUInt16BE(2)).toBe(port);
  expect(getUint(fd, 'IP_BIND_ADDRESS_NO_PORT')).toBe(0);
});

test('a port that the application bound stays', () => {
  bind(fd, loopback(0));
  const before = getsockname(fd);
  bindPort(fd, loopback(freePort()));
  expect(getsockname(fd)).toEqual(before);
});
