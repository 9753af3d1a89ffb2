import { expect, test } from 'vitest';
import { checked, SysError } from '../../ts/sys/error.ts';

test.each([
  {
    error: new SysError('setsockopt(TCP_REPAIR)', 1, 'needs CAP_NET_ADMIN in this network namespace'),
    message:
      'setsockopt(TCP_REPAIR): EPERM: operation not permitted — needs CAP_NET_ADMIN in this network namespace',
  },
  { error: new SysError('connect', 101), message: 'connect: ENETUNREACH: network is unreachable' },
  { error: new SysError('bpf', 524), message: 'bpf: ENOTSUPP: not supported by the kernel' },
  { error: new SysError('tc', 95), message: 'tc: EOPNOTSUPP: operation not supported' },
  { error: new SysError('bpf', 4000), message: 'bpf: errno 4000: unknown error' },
])('$message', ({ error, message }) => {
  expect(error.message).toBe(message);
});

test('a negative result is an errno', () => {
  expect(checked('read', 3)).toBe(3);
  expect(() => checked('read', -9)).toThrow(
    expect.objectContaining({ errno: 9, code: 'EBADF', operation: 'read' }),
  );
});
