import { describe, expect, test } from 'vitest';
import { SysError } from '../../ts/sys/error.ts';
import * as libc from '../../ts/sys/libc.ts';

function withSocket(use: (fd: number) => void): void {
  const fd = libc.socket(libc.AF_INET, libc.SOCK_STREAM, 0);
  try {
    use(fd);
  } finally {
    libc.close(fd);
  }
}

test('options are read as they were set', () => {
  withSocket((fd) => {
    expect(libc.getUint(fd, 'SO_TYPE')).toBe(libc.SOCK_STREAM);
    libc.setInt(fd, 'TCP_MAXSEG', 1000);
    expect(libc.getUint(fd, 'TCP_MAXSEG')).toBe(1000);
    expect(() => libc.setInt(fd, 'TCP_STEALTH', 1)).toThrow('setsockopt(TCP_STEALTH): ENOPROTOOPT');
  });
});

describe('the ISN', () => {
  test.each([0, 1, 0x7fffffff, 0x80000000, 0xffffffff])('%i leaves nothing else changed', (isn) => {
    withSocket((fd) => {
      libc.setInt(fd, 'SO_REUSEADDR', 1);
      libc.writeIsn(fd, isn);
      expect(libc.getUint(fd, 'TCP_REPAIR')).toBe(0);
      expect(libc.getUint(fd, 'SO_REUSEADDR')).toBe(1);
    });
  });

  test('of a bound socket leaves its address alone', () => {
    withSocket((fd) => {
      libc.bind(fd, Buffer.from('020000007f0000010000000000000000', 'hex'));
      const before = libc.getsockname(fd);
      libc.writeIsn(fd, 7);
      expect(libc.getsockname(fd)).toEqual(before);
    });
  });

  test('of something else than TCP is an error', () => {
    const fd = libc.socket(libc.AF_INET, 2, 0);
    expect(() => libc.writeIsn(fd, 1)).toThrow(SysError);
    libc.close(fd);
  });
});

test('a closed descriptor is an error that names the call', () => {
  expect(() => libc.getUint(9999, 'SO_TYPE')).toThrow('getsockopt(SO_TYPE): EBADF: bad file descriptor');
  expect(libc.connect(9999, new Uint8Array(16))).toBe(9);
});

test('interfaces and their events can be read without privilege or waiting', () => {
  expect(libc.interfaces().length).toBeGreaterThan(0);
  const events = libc.openLinks();
  // Other tests make and move interfaces.
  for (const event of libc.drainLinks(events)) expect(event.index).toBeGreaterThan(0);
  libc.close(events);
});
