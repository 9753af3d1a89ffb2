/* The tokens that guards have accepted, and from whom: whoever saw a SYN go by may send it again, since a token
 * covers destination and timestamp but not the source (thesis section 8.2). */
#ifndef KNOCKIFY_REPLAYS_H
#define KNOCKIFY_REPLAYS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "layout.h"

/* From when a token is first accepted until the last retransmission of its own SYN, and of those of the connections
 * that its client opened in the same tick: six by default, the last of them sent after 127 s at most. */
#define TOKEN_LIFETIME (180ULL * 1000 * 1000 * 1000)

/* One map for all guards of a network namespace, and for the control processes that follow each other. Only right
 * tokens get in, so that wrong ones, however many, push none out. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct knock_token);
  __type(value, struct knock_bearer);
} knock_tokens_1 SEC(".maps");

_Static_assert(KNOCK_LAYOUT == 1, "rename the map");

/* Whether a token that is right must be refused. A client's connections of one tick have the same token where its
 * kernel gives every port the same timestamp offset (until 6.18.17): the bearer is the address, whatever the port. */
static __always_inline int is_replayed(const struct knock_token *token, const struct knock_bearer *bearer) {
  const struct knock_bearer *first = bpf_map_lookup_elem(&knock_tokens_1, token);

  if (!first) {
    if (!bpf_map_update_elem(&knock_tokens_1, token, bearer, BPF_NOEXIST)) return 0;
    /* Another processor was quicker. */
    first = bpf_map_lookup_elem(&knock_tokens_1, token);
    if (!first) return 1;
  }
  for (int i = 0; i < 4; i++)
    if (first->source[i] != bearer->source[i]) return 1;
  return bearer->since - first->since > TOKEN_LIFETIME;
}

#endif
