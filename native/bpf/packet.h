/* TCP header facts that both kinds of program need. */
#ifndef KNOCKIFY_PACKET_H
#define KNOCKIFY_PACKET_H

#include <bpf/bpf_helpers.h>
#include <linux/types.h>

#include "stack.h"

#define TCP_HEADER 20
#define TCP_HEADER_LONGEST 60
#define TCP_FLAG_BYTE 13

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_WINDOW_SCALE 3
#define OPTION_SACK 4
#define OPTION_TIMESTAMP 8
#define OPTION_TIMESTAMP_LENGTH 10

/* A 32-bit field of a header, in host byte order. */
static __always_inline __u32 word_at(const __u8 *bytes) {
  return (__u32)bytes[0] << 24 | (__u32)bytes[1] << 16 | (__u32)bytes[2] << 8 | bytes[3];
}

/* What a walk writes has 8 bytes: see stack.h. */
struct option_walk {
  void *packet;
  __u64 at;
  __u64 end;
  __u64 found;
};

/* One option of the list; 1 ends the walk. Loads through the helper and not from a copy on the stack: a variable
 * stack offset needs CAP_PERFMON. */
static long walk_option(__u32 index, struct option_walk *walk) {
  __u8 option[2] = {};

  if (walk->at >= walk->end || bpf_skb_load_bytes(walk->packet, walk->at, &option[0], 1)) return 1;
  if (option[0] == OPTION_END) return 1;
  if (option[0] == OPTION_NOP) {
    walk->at++;
    return 0;
  }
  if (walk->at + 1 >= walk->end || bpf_skb_load_bytes(walk->packet, walk->at, option, 2)) return 1;
  if (option[1] < 2 || walk->at + option[1] > walk->end) return 1;
  if (option[0] == OPTION_TIMESTAMP && option[1] == OPTION_TIMESTAMP_LENGTH) walk->found = walk->at + 2;
  walk->at += option[1];
  return 0;
}

/* Finds the timestamp option between the packet offsets `at` and `end`, as the kernel's tcp_parse_options() does:
 * an option of length 0 or 1, or that runs over the end, ends the list; of several timestamps the last counts.
 * Returns the offset of TSval, 0 without one. bpf_loop (5.17), because the verifier would follow every path
 * through an ordinary loop; not inlined, because without CAP_PERFMON the stack slot that held the packet's pointer
 * may never be used for anything else. 6.1's verifier follows a single round of bpf_loop: if it knew
 * that `at` is even, it would take the result for even, too, and remove what the caller does about an odd one. */
static __attribute__((noinline, unused)) __u32 find_timestamp(void *packet, __u32 at, __u32 end) {
  struct option_walk walk = {.packet = packet, .at = unknown(at), .end = unknown(end)};

  bpf_loop(TCP_HEADER_LONGEST - TCP_HEADER, walk_option, &walk, 0);
  return walk.found;
}

#endif
