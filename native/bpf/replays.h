/* The tokens that guards have accepted, and from whom: whoever saw a SYN go by may send it again, since a token
 * covers destination and timestamp but not the source (thesis section 8.2). */
#ifndef KNOCKIFY_REPLAYS_H
#define KNOCKIFY_REPLAYS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "syns.h"

/* From when a token is first accepted until the last retransmission of its own SYN, and of those of the connections
 * that its client opened in the same tick: six by default, the last of them sent after 127 s at most. */
#define TOKEN_LIFETIME (180ULL * 1000 * 1000 * 1000)

/* One map for all guards of a network namespace, and for the control processes that follow each other. Only right
 * tokens get in, so that wrong ones, however many, push none out. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1 << KNOCK_TOKEN_BITS);
  __type(key, __u32);
  __type(value, struct knock_tokens);
} knock_tokens_1 SEC(".maps");

_Static_assert(KNOCK_LAYOUT == 1, "rename the map");

static __always_inline int is_same_address(const __u32 one[4], const __u32 other[4]) {
  return !((one[0] ^ other[0]) | (one[1] ^ other[1]) | (one[2] ^ other[2]) | (one[3] ^ other[3]));
}

/* Whether a token that is right must be refused. A client's connections of one tick have the same token where its
 * kernel gives every port the same timestamp offset (until 6.18.17): the bearer is the address, whatever the port. */
__attribute__((noinline, weak)) int knock_is_replayed(const struct knock_bearer *bearer) {
  if (!bearer) return 1;
  __u32 set = bearer->isn >> (32 - KNOCK_TOKEN_BITS), tag = bearer->isn ^ bearer->tsval * KNOCK_HASH_FACTOR;
  struct knock_tokens *tokens = bpf_map_lookup_elem(&knock_tokens_1, &set);
  int refused = 0;

  if (!tokens) return 1;
  struct knock_set *known = &tokens->set;
  struct knock_bearer *bearers = tokens->bearers;
  /* Nothing may be added to the lock's address on the way to them: the compiler may not start from there. */
  barrier_var(known);
  barrier_var(bearers);

  bpf_spin_lock(&tokens->lock);
  const struct knock_bearer *first = &bearers[way_of(known->tags, tag)];
  if (first->isn == bearer->isn && first->tsval == bearer->tsval) {
    refused = !is_same_address(first->source, bearer->source) || bearer->since - first->since > TOKEN_LIFETIME;
  } else {
    __u32 way = known->count++ % KNOCK_WAYS;
    known->tags[way] = tag;
    bearers[way] = *bearer;
  }
  bpf_spin_unlock(&tokens->lock);
  return refused;
}

#endif
