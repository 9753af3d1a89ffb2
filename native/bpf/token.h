/* The token (draft section 3.1): one MD5 block transformation over the secret, chained from an IV that is made of
 * the destination, the timestamp and the integrity hash. Straight-line code without calls or tables, so that the
 * BPF verifier takes it, and plain C, so that it runs in user space too. */
#ifndef KNOCKIFY_TOKEN_H
#define KNOCKIFY_TOKEN_H

#include <linux/types.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define KNOCK_LE32(x) (x)
#define KNOCK_BE32(x) __builtin_bswap32(x)
#define KNOCK_LE64(x) (x)
#else
#define KNOCK_LE32(x) __builtin_bswap32(x)
#define KNOCK_BE32(x) (x)
#define KNOCK_LE64(x) __builtin_bswap64(x)
#endif

/* MD5 is a chain: each of its 64 steps waits for the one before, so that only what is between that one's result (the b of
 * RFC 1321) and its own counts. What of a step does not need b is computed beforehand, in `sum` and `rest`: compilers would add
 * it up later. G's two halves have no bit in common and can be added. */
#define KNOCK_BEFOREHAND(x) __asm__ volatile("" : "+r"(x))
#define KNOCK_F(b, c, d)     \
  rest = (c) ^ (d);          \
  KNOCK_BEFOREHAND(rest);    \
  rest = (rest & (b)) ^ (d)
#define KNOCK_G(b, c, d)     \
  sum += (c) & ~(d);         \
  rest = (b) & (d)
#define KNOCK_H(b, c, d)     \
  rest = (c) ^ (d);          \
  KNOCK_BEFOREHAND(rest);    \
  rest ^= (b)
#define KNOCK_I(b, c, d) rest = (c) ^ ((b) | ~(d))
#define KNOCK_STEP(f, a, b, c, d, word, sine, shift)       \
  do {                                                     \
    __u32 sum = (a) + block[word] + (__u32)(sine), rest;   \
    KNOCK_##f(b, c, d);                                    \
    KNOCK_BEFOREHAND(sum);                                 \
    (a) = sum + rest;                                      \
    (a) = ((a) << (shift) | (a) >> (32 - (shift))) + (b);  \
  } while (0)

/* MD5's block transformation (RFC 1321 section 3.4): `block` is 16 little-endian words in host order, `state` what it
 * is chained from and to. */
static inline __attribute__((always_inline)) void knock_md5_block(const volatile __u32 *block, __u32 state[4]) {
  __u32 a = state[0], b = state[1], c = state[2], d = state[3];

  KNOCK_STEP(F, a, b, c, d, 0, 0xd76aa478, 7);
  KNOCK_STEP(F, d, a, b, c, 1, 0xe8c7b756, 12);
  KNOCK_STEP(F, c, d, a, b, 2, 0x242070db, 17);
  KNOCK_STEP(F, b, c, d, a, 3, 0xc1bdceee, 22);
  KNOCK_STEP(F, a, b, c, d, 4, 0xf57c0faf, 7);
  KNOCK_STEP(F, d, a, b, c, 5, 0x4787c62a, 12);
  KNOCK_STEP(F, c, d, a, b, 6, 0xa8304613, 17);
  KNOCK_STEP(F, b, c, d, a, 7, 0xfd469501, 22);
  KNOCK_STEP(F, a, b, c, d, 8, 0x698098d8, 7);
  KNOCK_STEP(F, d, a, b, c, 9, 0x8b44f7af, 12);
  KNOCK_STEP(F, c, d, a, b, 10, 0xffff5bb1, 17);
  KNOCK_STEP(F, b, c, d, a, 11, 0x895cd7be, 22);
  KNOCK_STEP(F, a, b, c, d, 12, 0x6b901122, 7);
  KNOCK_STEP(F, d, a, b, c, 13, 0xfd987193, 12);
  KNOCK_STEP(F, c, d, a, b, 14, 0xa679438e, 17);
  KNOCK_STEP(F, b, c, d, a, 15, 0x49b40821, 22);

  KNOCK_STEP(G, a, b, c, d, 1, 0xf61e2562, 5);
  KNOCK_STEP(G, d, a, b, c, 6, 0xc040b340, 9);
  KNOCK_STEP(G, c, d, a, b, 11, 0x265e5a51, 14);
  KNOCK_STEP(G, b, c, d, a, 0, 0xe9b6c7aa, 20);
  KNOCK_STEP(G, a, b, c, d, 5, 0xd62f105d, 5);
  KNOCK_STEP(G, d, a, b, c, 10, 0x02441453, 9);
  KNOCK_STEP(G, c, d, a, b, 15, 0xd8a1e681, 14);
  KNOCK_STEP(G, b, c, d, a, 4, 0xe7d3fbc8, 20);
  KNOCK_STEP(G, a, b, c, d, 9, 0x21e1cde6, 5);
  KNOCK_STEP(G, d, a, b, c, 14, 0xc33707d6, 9);
  KNOCK_STEP(G, c, d, a, b, 3, 0xf4d50d87, 14);
  KNOCK_STEP(G, b, c, d, a, 8, 0x455a14ed, 20);
  KNOCK_STEP(G, a, b, c, d, 13, 0xa9e3e905, 5);
  KNOCK_STEP(G, d, a, b, c, 2, 0xfcefa3f8, 9);
  KNOCK_STEP(G, c, d, a, b, 7, 0x676f02d9, 14);
  KNOCK_STEP(G, b, c, d, a, 12, 0x8d2a4c8a, 20);

  KNOCK_STEP(H, a, b, c, d, 5, 0xfffa3942, 4);
  KNOCK_STEP(H, d, a, b, c, 8, 0x8771f681, 11);
  KNOCK_STEP(H, c, d, a, b, 11, 0x6d9d6122, 16);
  KNOCK_STEP(H, b, c, d, a, 14, 0xfde5380c, 23);
  KNOCK_STEP(H, a, b, c, d, 1, 0xa4beea44, 4);
  KNOCK_STEP(H, d, a, b, c, 4, 0x4bdecfa9, 11);
  KNOCK_STEP(H, c, d, a, b, 7, 0xf6bb4b60, 16);
  KNOCK_STEP(H, b, c, d, a, 10, 0xbebfbc70, 23);
  KNOCK_STEP(H, a, b, c, d, 13, 0x289b7ec6, 4);
  KNOCK_STEP(H, d, a, b, c, 0, 0xeaa127fa, 11);
  KNOCK_STEP(H, c, d, a, b, 3, 0xd4ef3085, 16);
  KNOCK_STEP(H, b, c, d, a, 6, 0x04881d05, 23);
  KNOCK_STEP(H, a, b, c, d, 9, 0xd9d4d039, 4);
  KNOCK_STEP(H, d, a, b, c, 12, 0xe6db99e5, 11);
  KNOCK_STEP(H, c, d, a, b, 15, 0x1fa27cf8, 16);
  KNOCK_STEP(H, b, c, d, a, 2, 0xc4ac5665, 23);

  KNOCK_STEP(I, a, b, c, d, 0, 0xf4292244, 6);
  KNOCK_STEP(I, d, a, b, c, 7, 0x432aff97, 10);
  KNOCK_STEP(I, c, d, a, b, 14, 0xab9423a7, 15);
  KNOCK_STEP(I, b, c, d, a, 5, 0xfc93a039, 21);
  KNOCK_STEP(I, a, b, c, d, 12, 0x655b59c3, 6);
  KNOCK_STEP(I, d, a, b, c, 3, 0x8f0ccc92, 10);
  KNOCK_STEP(I, c, d, a, b, 10, 0xffeff47d, 15);
  KNOCK_STEP(I, b, c, d, a, 1, 0x85845dd1, 21);
  KNOCK_STEP(I, a, b, c, d, 8, 0x6fa87e4f, 6);
  KNOCK_STEP(I, d, a, b, c, 15, 0xfe2ce6e0, 10);
  KNOCK_STEP(I, c, d, a, b, 6, 0xa3014314, 15);
  KNOCK_STEP(I, b, c, d, a, 13, 0x4e0811a1, 21);
  KNOCK_STEP(I, a, b, c, d, 4, 0xf7537e82, 6);
  KNOCK_STEP(I, d, a, b, c, 11, 0xbd3af235, 10);
  KNOCK_STEP(I, c, d, a, b, 2, 0x2ad7d2bb, 15);
  KNOCK_STEP(I, b, c, d, a, 9, 0xeb86d391, 21);

  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}

/* The XOR of the four words of the state after one block: over the secret, the AV, to be sent big-endian. */
static inline __attribute__((always_inline)) __u32 knock_md5_words(const volatile __u32 *block, __u32 iv0, __u32 iv1,
                                                                   __u32 iv2, __u32 iv3) {
  __u32 state[4] = {iv0, iv1, iv2, iv3};

  knock_md5_block(block, state);
  return state[0] ^ state[1] ^ state[2] ^ state[3];
}

/* The AV for a destination. `address` is 16 bytes in network byte order read as they lie in memory (an IPv4
 * address is the first word, the others 0); everything else is in host byte order. T is 0 without the timestamp
 * option, `integrity_hash` is 0 in authentication mode: XOR with 0 leaves the IV alone. */
static inline __attribute__((always_inline)) __u32 knock_authenticator(const volatile __u32 *secret, const __u32 address[4],
                                                                       __u32 tsval, __u16 port,
                                                                       __u16 integrity_hash) {
  /* Offsets 4..5, 8..11 and 12..13 of the IV, in network byte order. */
  __u32 hash_word = KNOCK_BE32((__u32)integrity_hash << 16);
  __u32 port_word = KNOCK_BE32((__u32)port << 16);

  return knock_md5_words(secret, KNOCK_LE32(address[0]), KNOCK_LE32(address[1] ^ hash_word),
                         KNOCK_LE32(address[2] ^ KNOCK_BE32(tsval)), KNOCK_LE32(address[3] ^ port_word));
}

#endif
