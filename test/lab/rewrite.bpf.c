/* A firewall that is not transparent: what it does to a connection it undoes on the way back, so that both ends think
 * nothing of it. Attached to an interface of the server, in both directions. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifndef SHIFT_SEQUENCE
#define SHIFT_SEQUENCE 0
#endif
#ifndef SHIFT_TIMESTAMP
#define SHIFT_TIMESTAMP 0
#endif
#ifndef STRIP_TIMESTAMP
#define STRIP_TIMESTAMP 0
#endif

/* Ethernet and IPv4 without options. */
#define TCP (14 + 20)
#define SEQUENCE (TCP + 4)
#define ACKNOWLEDGMENT (TCP + 8)
#define FLAGS (TCP + 13)
#define CHECKSUM (TCP + 16)
#define OPTIONS (TCP + 20)
#define SYN 0x02

static __always_inline void replace(struct __sk_buff *skb, __u32 at, __be32 from, __be32 to) {
  bpf_l4_csum_replace(skb, CHECKSUM, from, to, 4);
  bpf_skb_store_bytes(skb, at, &to, 4, 0);
}

static __always_inline void shift(struct __sk_buff *skb, __u32 at, __u32 by) {
  __be32 before;

  if (by && !bpf_skb_load_bytes(skb, at, &before, 4)) replace(skb, at, before, bpf_htonl(bpf_ntohl(before) + by));
}

/* A Linux SYN has MSS and SACK permitted before its timestamps; other segments begin with two NOPs. */
static __always_inline void timestamps(struct __sk_buff *skb, __u32 syn, __u32 field, __u32 by) {
  __u32 at = OPTIONS + (syn ? 6 : 2);
  __u8 kind[2];

  if (bpf_skb_load_bytes(skb, at, kind, 2) || kind[0] != 8 || kind[1] != 10) return;
  if (STRIP_TIMESTAMP && syn) {
    /* Words of the header, not of the option. */
    for (__u32 word = OPTIONS + 4; word < OPTIONS + 20; word += 4) {
      __u8 old[4], new[4];
      if (bpf_skb_load_bytes(skb, word, old, 4)) return;
      for (int i = 0; i < 4; i++) new[i] = word + i >= at && word + i < at + 10 ? 1 : old[i];
      replace(skb, word, *(__be32 *)old, *(__be32 *)new);
    }
    return;
  }
  shift(skb, at + field, by);
}

static __always_inline int is_tcp(struct __sk_buff *skb, __u8 *flags) {
  __u8 version, protocol;

  return skb->protocol == bpf_htons(ETH_P_IP) && !bpf_skb_load_bytes(skb, 14, &version, 1) && version == 0x45 &&
         !bpf_skb_load_bytes(skb, 14 + 9, &protocol, 1) && protocol == 6 && !bpf_skb_load_bytes(skb, FLAGS, flags, 1);
}

SEC("towards")
int towards_the_server(struct __sk_buff *skb) {
  __u8 flags;

  if (!is_tcp(skb, &flags)) return TC_ACT_UNSPEC;
  shift(skb, SEQUENCE, SHIFT_SEQUENCE);
  timestamps(skb, flags & SYN, 2, SHIFT_TIMESTAMP);
  return TC_ACT_UNSPEC;
}

SEC("back")
int back_to_the_client(struct __sk_buff *skb) {
  __u8 flags;

  if (!is_tcp(skb, &flags)) return TC_ACT_UNSPEC;
  shift(skb, ACKNOWLEDGMENT, -SHIFT_SEQUENCE);
  timestamps(skb, flags & SYN, 6, -SHIFT_TIMESTAMP);
  return TC_ACT_UNSPEC;
}

char license_text[] SEC("license") = "GPL";
