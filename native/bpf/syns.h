/* The SYNs that carried the token: what the guard, which sees them, tells the programs that see what follows. */
#ifndef KNOCKIFY_SYNS_H
#define KNOCKIFY_SYNS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "layout.h"

/* One map for all guards of a network namespace, handed from control process to control process as knock_armed is:
 * a listener that outlives its control process goes on with it. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 16384);
  __type(key, struct knock_tuple);
  __type(value, struct knock_syn);
} knock_syns_1 SEC(".maps");

_Static_assert(KNOCK_LAYOUT == 1, "rename the map");

/* Fills the addresses in from the IP header, the ports from the TCP header; -1 if it is neither IPv4 nor IPv6. */
static __always_inline int tuple_of(void *packet, const __u8 *tcp, struct knock_tuple *tuple) {
  __u8 ip[40];

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
  __builtin_memcpy(&tuple->source_port, &tcp[0], 2);
  __builtin_memcpy(&tuple->destination_port, &tcp[2], 2);
  return 0;
}

#endif
