/* The SYNs that carried the token: what the guard, which sees them, tells the programs that see what follows. */
#ifndef KNOCKIFY_SYNS_H
#define KNOCKIFY_SYNS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "stack.h"

/* One map for all guards of a network namespace, handed from control process to control process as knock_armed is:
 * a listener that outlives its control process goes on with it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1 << KNOCK_SYN_BITS);
  __type(key, __u32);
  __type(value, struct knock_syns);
} knock_syns_1 SEC(".maps");

_Static_assert(KNOCK_LAYOUT == 1, "rename the map");

#define KNOCK_HASH_FACTOR 0x9e3779b1

/* Mirrored in ts/engine/stock/layout.ts. Whoever gets in here has the secret: nobody need be kept from choosing collisions. */
static __always_inline __u32 knock_tuple_hash(const struct knock_tuple *tuple) {
  __u32 words[sizeof(*tuple) / sizeof(__u32)], hash = 0;

  __builtin_memcpy(words, tuple, sizeof(words));
  for (int i = 0; i < (int)(sizeof(words) / sizeof(*words)); i++) {
    hash = (hash ^ words[i]) * KNOCK_HASH_FACTOR;
    hash ^= hash >> 15;
  }
  return hash * KNOCK_HASH_FACTOR;
}

/* The one entry of a set that may be the one with this tag: whoever asks compares it. Without branches: to whom has no
 * CAP_PERFMON, the verifier follows both sides of each, and allows no addition to a pointer of one number on one path and of
 * another on the next. */
static __always_inline __u64 way_of(const __u32 tags[KNOCK_WAYS], __u32 tag) {
  __u64 way = 0;

#pragma unroll
  for (__u64 i = 1; i < KNOCK_WAYS; i++) {
    __u64 borrow = (__u64)(tags[i] ^ tag) - 1;
    /* Or else the compiler sees the branch in this. */
    barrier_var(borrow);
    way |= i & borrow >> 32;
  }
  /* What is masked last has its limit for all verifiers to see. */
  barrier_var(way);
  return way % KNOCK_WAYS;
}

static __always_inline int is_same_tuple(const struct knock_tuple *one, const struct knock_tuple *other) {
  __u32 differences = 0, words[2][sizeof(*one) / sizeof(__u32)];

  __builtin_memcpy(words[0], one, sizeof(*one));
  __builtin_memcpy(words[1], other, sizeof(*other));
  for (int i = 0; i < (int)(sizeof(*one) / sizeof(__u32)); i++) differences |= words[0][i] ^ words[1][i];
  return !differences;
}

/* Where the entry of a tuple is, or would be. */
struct syn_place {
  struct knock_syns *syns;
  __u32 tag;
  /* 0 where there is none. */
  struct knock_syn *syn;
};

static __always_inline struct syn_place place_of_syn(const struct knock_tuple *tuple) {
  struct syn_place place = {.tag = knock_tuple_hash(tuple)};
  __u32 key = place.tag >> (32 - KNOCK_SYN_BITS);

  place.syns = bpf_map_lookup_elem(&knock_syns_1, &key);
  if (!place.syns) return place;
  struct knock_syn *syn = &place.syns->syns[way_of(place.syns->set.tags, place.tag)];
  if (is_same_tuple(&syn->tuple, tuple)) place.syn = syn;
  return place;
}

/* How long the kernel itself honours a SYN cookie (two periods of 60 s). */
#define COOKIE_LIFETIME (120ULL * 1000 * 1000 * 1000)

/* Functions that are not static are verified once, by themselves, and not again for each way to get there. */

/* Whether a SYN with this ISN has passed here a moment before. */
__attribute__((noinline, weak)) int knock_was_authorised(const struct knock_tuple *tuple, __u32 isn) {
  if (!tuple) return 0;
  const struct knock_syn *syn = place_of_syn(tuple).syn;
  return syn && syn->isn == isn && bpf_ktime_get_ns() - syn->since < COOKIE_LIFETIME;
}

/* A SYN that comes again begins its record anew. Without a lock, which socket filters may not take: when two processors
 * write to one place, or one reads what another writes, an entry is lost, or has another's ISN, which is as good as lost. */
__attribute__((noinline, weak)) int knock_remember_syn(const struct knock_tuple *tuple, __u64 since, __u32 isn,
                                                       __u32 slot) {
  if (!tuple) return 0;
  struct syn_place place = place_of_syn(tuple);
  if (!place.syns) return 0;
  if (!place.syn) {
    __u32 way = place.syns->set.count++ % KNOCK_WAYS;
    place.syns->set.tags[way] = place.tag;
    place.syn = &place.syns->syns[way];
    place.syn->tuple = *tuple;
  }
  place.syn->since = since;
  place.syn->isn = isn;
  place.syn->first = 0;
  place.syn->slot = slot;
  return 0;
}

/* Fills the addresses in from the IP header, the ports from the TCP header; -1 if it is neither IPv4 nor IPv6. */
static __always_inline int tuple_of(void *packet, const __u8 *tcp, struct knock_tuple *tuple) {
  __u8 ip[40] SLOTS;

  /* With TCP's 20 bytes behind it, an IPv4 header has these 40 bytes too. */
  if (bpf_skb_load_bytes_relative(packet, 0, ip, sizeof(ip), BPF_HDR_START_NET)) return -1;
  if (ip[0] >> 4 == 4) {
    __builtin_memcpy(tuple->source, &ip[12], 4);
    __builtin_memcpy(tuple->destination, &ip[16], 4);
  } else if (ip[0] >> 4 == 6) {
    __builtin_memcpy(tuple->source, &ip[8], 16);
    __builtin_memcpy(tuple->destination, &ip[24], 16);
  } else {
    return -1;
  }
  __builtin_memcpy(&tuple->source_port, &tcp[0], 4);
  return 0;
}

#endif
