/** One token, known beforehand. Every implementation (TypeScript, BPF, C) is tested against all of them. */
export interface TokenVector {
  readonly source: string;
  /** ASCII, to be zero-padded to 64 bytes. */
  readonly secret: string;
  /** Destination address in text form. */
  readonly dest: string;
  readonly port: number;
  /** 0 is a SYN without the timestamp option. */
  readonly tsval: number;
  /** ASCII; all of it is protected. Absent in auth mode. */
  readonly payload?: string;
  /** The 32-bit value that is sent in network byte order. */
  readonly isn: number;
}

const AUTH = 'draft-kirsch-ietf-tcp-stealth-01 section 3.1.1';
const INTEGRITY = 'draft-kirsch-ietf-tcp-stealth-01 section 3.2.1';
const AGREED = 'two independent implementations that agree';
const DRAFT = { secret: 'Magic secret string', port: 4242, tsval: 0x11223344 };
const PAYLOAD = 'Protected payload goes here.';

export const VECTORS: readonly TokenVector[] = [
  { ...DRAFT, source: AUTH, dest: '192.18.42.42', isn: 0xedea1325 },
  { ...DRAFT, source: AUTH, dest: '2001:db8::2a:2a', isn: 0x4923a842 },
  { ...DRAFT, source: INTEGRITY, dest: '192.18.42.42', payload: PAYLOAD, isn: 0x2153ff96 },
  { ...DRAFT, source: INTEGRITY, dest: '2001:db8::2a:2a', payload: PAYLOAD, isn: 0x3ae5ff96 },
  {
    source: AGREED,
    secret: 'This is my magic ID.',
    dest: '127.0.0.1',
    port: 8080,
    tsval: 0,
    isn: 0x9913d103,
  },
  {
    source: AGREED,
    secret: 'This is my magic ID.',
    dest: '127.0.0.1',
    port: 8080,
    tsval: 0,
    payload: '1234',
    isn: 0x45e4854f,
  },
  { source: AGREED, secret: 'secret', dest: '::1', port: 22, tsval: 0, isn: 0xfdc0a68f },
];
