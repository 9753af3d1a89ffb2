import { describe, expect, it } from 'vitest';
import { describePeer, parseSockaddr } from '../../ts/control/sockaddr.ts';
import { destinationOf } from '../../ts/stealth/destination.ts';
import { sockaddrOf } from './sockaddrs.ts';

describe('socket addresses', () => {
  const parsed = [
    { text: '192.0.2.1', shown: '192.0.2.1:22', bytes: 4 },
    { text: '2001:db8::2a:2a', shown: '[2001:db8::2a:2a]:22', bytes: 16 },
    { text: '::1', shown: '[::1]:22', bytes: 16 },
    { text: '::', shown: '[::]:22', bytes: 16 },
    { text: '::ffff:192.0.2.1', shown: '192.0.2.1:22', bytes: 4 },
  ];
  for (const { text, shown, bytes } of parsed)
    it(`of ${text} are read`, () => {
      const peer = parseSockaddr(sockaddrOf(text, 22));
      expect(peer.address.length).toBe(bytes);
      expect(peer.address).toEqual(Uint8Array.from(destinationOf(text, 22).address));
      expect(describePeer(peer)).toBe(shown);
    });

  it('of other families, or cut short, are refused', () => {
    expect(() => parseSockaddr(Uint8Array.of(1, 0, 0x2f, 0x78))).toThrow(/family 1/);
    expect(() => parseSockaddr(sockaddrOf('192.0.2.1', 22).subarray(0, 8))).toThrow(RangeError);
    expect(() => parseSockaddr(sockaddrOf('::1', 22).subarray(0, 20))).toThrow(RangeError);
    expect(() => parseSockaddr(new Uint8Array())).toThrow(RangeError);
  });
});
