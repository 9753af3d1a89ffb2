/* The named secrets: listeners whose program brings no secret accept any of them. */
#ifndef KNOCKIFY_SECRETS_H
#define KNOCKIFY_SECRETS_H

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "stack.h"
#include "token.h"

/* One map for all guards of a network namespace, handed from control process to control process as knock_armed is, so
 * that a secret can be added or revoked without touching a guard. A slot's number is its key. At key 0 there is no
 * secret but a struct knock_keeper: its `until` is the highest slot in use. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1 + KNOCK_SLOTS);
  __type(key, __u32);
  __type(value, struct knock_named);
} knock_secrets_1 SEC(".maps");

_Static_assert(KNOCK_LAYOUT == 1, "rename the map");

/* What a SYN says, for one secret after the other. */
struct secret_walk {
  __u32 address[4] SLOTS;
  /* 8 bytes each: see stack.h. */
  __u64 tsval;
  __u64 isn;
  /* The bits of the ISN that are the AV's. */
  __u64 mask;
  __u64 port;
  __u64 integrity_hash;
  __u64 found;
};

/* 1 ends the walk. User space empties a slot by its `until` before it touches the words: it is looked at once more when
 * they fit, so that words which are just being written are never a secret. */
static long try_secret(__u32 index, struct secret_walk *walk) {
  __u32 slot = index + 1;
  volatile struct knock_named *named = bpf_map_lookup_elem(&knock_secrets_1, &slot);

  if (!named) return 1;
  if (!named->until) return 0;
  __u32 av = knock_authenticator(named->secret, walk->address, walk->tsval, walk->port, walk->integrity_hash);
  if ((av ^ (__u32)walk->isn) & (__u32)walk->mask) return 0;
  if (bpf_ktime_get_ns() >= named->until) return 0;
  walk->found = slot;
  return 1;
}

/* The slot of the secret that a SYN was made from, or 0. In integrity mode only the upper half of the ISN is the AV's. Not
 * inlined for the same reason as find_timestamp(). */
static __attribute__((noinline, unused)) __u32 find_secret(const struct knock_tuple *tuple, __u32 tsval, __u32 isn,
                                                           __u32 integrity) {
  __u32 head = 0;
  const volatile struct knock_named *named = bpf_map_lookup_elem(&knock_secrets_1, &head);
  struct secret_walk walk = {
      .tsval = tsval,
      .isn = isn,
      .mask = integrity ? 0xffff0000 : 0xffffffff,
      .port = bpf_ntohs(tuple->destination_port),
      .integrity_hash = integrity ? isn & 0xffff : 0,
  };

  if (!named) return 0;
  __builtin_memcpy(walk.address, __builtin_assume_aligned(tuple->destination, 8), sizeof(walk.address));
  __u64 used = named->until;
  bpf_loop(used < KNOCK_SLOTS ? (__u32)used : KNOCK_SLOTS, try_secret, &walk, 0);
  return walk.found;
}

#endif
