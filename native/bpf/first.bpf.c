/* Integrity mode promises that the first segment holds all protected bytes (draft section 3.2), but once a second
 * one has arrived the kernel no longer tells how long the first was. This socket filter on the listener remembers
 * it: the kernel runs it for the segment that ends the handshake, and on the accepted sockets, which inherit it.
 * It lets every packet pass. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "packet.h"
#include "syns.h"

#define WHOLE_PACKET (-1)

/* The kernel may yet drop a segment, for a bad acknowledgment number, say. So it is not the first one to come that
 * counts but the shortest that brings the first byte: the one that the kernel takes is never shorter than that. */
static __always_inline void remember(struct __sk_buff *skb) {
  SLOTS struct knock_tuple tuple = {};
  __u8 tcp[TCP_HEADER] SLOTS;

  if (bpf_skb_load_bytes(skb, 0, tcp, sizeof(tcp))) return;
  __u32 header = (tcp[12] >> 4) * 4;
  /* Data in a SYN counts only with Fast Open, where it is not ours to judge: see ts/engine/stock/inspection.ts. */
  if (skb->len <= header || tcp[TCP_FLAG_BYTE] & TCP_SYN) return;
  if (tuple_of(skb, tcp, &tuple)) return;
  struct knock_syn *syn = place_of_syn(&tuple).syn;
  if (!syn) return;

  /* How far before the first byte the segment starts, modulo 2^32: huge for one that starts behind it. */
  __u32 length = skb->len - header, ahead = syn->isn + 1 - word_at(&tcp[4]);
  if (ahead >= length) return;
  length -= ahead;
  if (!syn->first || length < syn->first) syn->first = length;
}

SEC("socket")
int knock_first_segment(struct __sk_buff *skb) {
  remember(skb);
  return WHOLE_PACKET;
}

char license_text[] SEC("license") = "GPL";
