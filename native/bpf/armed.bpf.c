/* What keeps an armed client socket's SYNs equal to the token that was computed for them: egress pins TSval to T
 * (draft section 4) and holds back every SYN of a marked socket that does not carry the token; ingress puts the
 * kernel's own TSval back into the SYN+ACK's echo. After the handshake nothing is touched. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "packet.h"
/* For their maps, which are never used here: user space ties them to the egress program, so that they can be found. */
#include "records.h"
#include "replays.h"
#include "secrets.h"
#include "stack.h"
#include "syns.h"

#define IPV6_HEADER 40
#define IPV6_EXTENSIONS 4
#define LINK_HEADER_LONGEST 64
/* The first SYN leaves this long after T was read at most, in ms. A stopped or starved program may be late; an
 * offset that belongs to another address pair is random in 32 bits. */
#define ARMED_FOR 10000
/* Longest SYN+ACK worth a look: three full headers and room for IPv6 extensions. */
#define HANDSHAKE_LONGEST 256
/* enum sock state of the kernel; not part of its exported headers. */
#define TCP_SYN_SENT 2

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct knock_socket);
} knock_armed_1 SEC(".maps");

/* Never read here: user space hangs its own state on a socket, so that it dies with the socket. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct knock_note);
} knock_notes_1 SEC(".maps");

/* Until when an answer to a SYN whose TSval was changed may arrive, in jiffies: all other packets are let pass at once. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} knock_echoes_1 SEC(".maps");

_Static_assert(KNOCK_LAYOUT == 1, "rename the maps");

/* A socket that has sent a SYN waits for no longer than this before it sends the next or gives up (TCP_RTO_MAX, 120 s), in
 * jiffies at the highest HZ; with a lower one that is longer. */
#define ANSWERED_WITHIN (121ULL * 1000)

/* Headers of one packet. Offsets in tcp are from the start of the network header. */
struct headers {
  __u8 ip[IPV6_HEADER];
  /* 8 bytes each: see stack.h. */
  __u64 ip_length;
  __u64 tcp;
  __u64 protocol;
  __u8 tcp_fixed[TCP_HEADER];
};

static __always_inline int load(struct __sk_buff *skb, __u32 offset, void *to, __u32 length) {
  return bpf_skb_load_bytes_relative(skb, offset, to, length, BPF_HDR_START_NET);
}

/* Where the transport header starts; sticky socket options can put extension headers even before a SYN. */
static __always_inline int skip_extensions(struct __sk_buff *skb, struct headers *h) {
  h->tcp = IPV6_HEADER;
  h->protocol = h->ip[6];
  for (int i = 0; i < IPV6_EXTENSIONS; i++) {
    __u8 extension[2];
    if (h->protocol != IPPROTO_HOPOPTS && h->protocol != IPPROTO_ROUTING && h->protocol != IPPROTO_DSTOPTS)
      return 0;
    if (load(skb, h->tcp, extension, sizeof(extension))) return -1;
    h->protocol = extension[0];
    h->tcp += 8 + 8 * extension[1];
  }
  return 0;
}

/* 0 with the headers filled in (tcp_fixed only if the protocol is TCP), -1 if they can't be read. */
static __always_inline int read_headers(struct __sk_buff *skb, struct headers *h) {
  if (load(skb, 0, h->ip, 20)) return -1;
  if (h->ip[0] >> 4 == 4) {
    h->ip_length = 20;
    h->tcp = (h->ip[0] & 0xf) * 4;
    h->protocol = h->ip[9];
  } else if (h->ip[0] >> 4 == 6) {
    h->ip_length = IPV6_HEADER;
    if (load(skb, 0, h->ip, IPV6_HEADER)) return -1;
    if (skip_extensions(skb, h)) return -1;
  } else {
    return -1;
  }
  if (h->protocol != IPPROTO_TCP) return 0;
  return load(skb, h->tcp, h->tcp_fixed, TCP_HEADER) ? -1 : 0;
}

struct offset_walk {
  struct __sk_buff *skb;
  const struct headers *wanted;
  __u64 found;
};

/* Every second offset; 1 ends the walk. */
static long try_offset(__u32 index, struct offset_walk *walk) {
  const struct headers *h = walk->wanted;
  const __u64 *wanted = (const __u64 *)h->ip;
  __u64 there[5] = {};

  if (bpf_skb_load_bytes(walk->skb, index * 2, there, 20)) return 1;
  if (there[0] != wanted[0] || there[1] != wanted[1]) return 0;
  if (h->ip_length == 20) {
    if ((__u32)there[2] != *(const __u32 *)&h->ip[16]) return 0;
  } else {
    if (bpf_skb_load_bytes(walk->skb, index * 2, there, IPV6_HEADER)) return 1;
    if (there[2] != wanted[2] || there[3] != wanted[3] || there[4] != wanted[4]) return 0;
  }
  walk->found = index * 2;
  return 1;
}

#define NOWHERE (~0ULL)

/* The network header's absolute offset, which the writing helpers want and no field tells: 14 on Ethernet, 0 on
 * tun and WireGuard, others elsewhere. It is where the header's bytes are found. -1 when they are not. By bpf_loop for the
 * same reasons as find_timestamp(). */
static __attribute__((noinline)) int network_offset(struct __sk_buff *skb, const struct headers *h) {
  struct offset_walk walk = {.skb = skb, .wanted = h, .found = NOWHERE};

  bpf_loop(LINK_HEADER_LONGEST / 2 + 1, try_offset, &walk, 0);
  return walk.found <= LINK_HEADER_LONGEST ? (int)walk.found : -1;
}

/* The checksum is over 16-bit words: at an odd offset each byte counts for the other half. */
static __always_inline __u32 as_summed(__u32 value, __u32 offset) {
  if (!(offset & 1)) return value;
  return (value & 0x00ff00ff) << 8 | (value >> 8 & 0x00ff00ff);
}

/* Replaces the 32-bit word at `field` of a TCP segment; both values in host byte order. */
static __always_inline int replace_word(struct __sk_buff *skb, __u32 tcp, __u32 field, __u32 from, __u32 to) {
  __u32 old = bpf_htonl(from), new = bpf_htonl(to);

  if (bpf_skb_store_bytes(skb, field, &new, sizeof(new), 0)) return -1;
  return bpf_l4_csum_replace(skb, tcp + 16, as_summed(old, field - tcp), as_summed(new, field - tcp), 4) ? -1 : 0;
}

static __always_inline __u64 *echoes(void) {
  __u32 first = 0;

  return bpf_map_lookup_elem(&knock_echoes_1, &first);
}

static __always_inline __u32 header_end(const struct headers *h) { return (h->tcp_fixed[12] >> 4) * 4; }

static __always_inline int hold_back(struct knock_socket *mark, __u32 reason) {
  mark->refused = reason;
  return TC_ACT_SHOT;
}

/* Lets the SYN of an armed socket out with TSval = T, or not at all. */
static __always_inline int check_syn(struct __sk_buff *skb, struct knock_socket *mark) {
  struct headers h = {};
  __u32 real;

  if (read_headers(skb, &h)) return hold_back(mark, KNOCK_REFUSED_HEADERS);
  /* A tunnel's outer packet still belongs to the socket; its SYN went by on the tunnel's own interface. With
   * IPsec there is none, and T can't be pinned. */
  if (h.protocol != IPPROTO_TCP) return mark->seen ? TC_ACT_UNSPEC : hold_back(mark, KNOCK_REFUSED_ENCAPSULATED);
  /* What answers the peer's idea of an earlier connection between the same ports belongs to the socket, too (since 6.13). */
  if ((h.tcp_fixed[TCP_FLAG_BYTE] & (TCP_SYN | TCP_RST)) == TCP_RST) return TC_ACT_UNSPEC;
  if (word_at(&h.tcp_fixed[4]) != mark->isn) return hold_back(mark, KNOCK_REFUSED_ISN);

  int network = network_offset(skb, &h);
  if (network < 0) return hold_back(mark, KNOCK_REFUSED_HEADERS);
  __u32 tcp = network + h.tcp;
  __u32 field = find_timestamp(skb, tcp + TCP_HEADER, tcp + header_end(&h));
  if (!field != !mark->has_timestamp) return hold_back(mark, KNOCK_REFUSED_OPTION);
  if (field) {
    if (bpf_skb_load_bytes(skb, field, &real, sizeof(real))) return hold_back(mark, KNOCK_REFUSED_HEADERS);
    real = bpf_ntohl(real);
    if (!mark->seen && real - mark->tsval > ARMED_FOR) return hold_back(mark, KNOCK_REFUSED_OFFSET);
    /* On a VLAN or a bond the SYN passes twice, the second time with T in place. */
    if (real != mark->tsval) {
      __u64 *until = echoes();
      if (!until) return hold_back(mark, KNOCK_REFUSED_HEADERS);
      *until = bpf_jiffies64() + ANSWERED_WITHIN;
      mark->real_tsval = real;
      if (replace_word(skb, tcp, field, real, mark->tsval)) return hold_back(mark, KNOCK_REFUSED_HEADERS);
    }
  }
  mark->seen++;
  mark->refused = KNOCK_REFUSED_NOT;
  return TC_ACT_UNSPEC;
}

/* Not inlined, as handshake() below: what most packets run then saves no registers and clears no memory for it. */
static __attribute__((noinline)) int connecting(struct __sk_buff *skb) {
  struct bpf_sock *sk = skb->sk;
  struct knock_socket *mark;

  if (!sk) return TC_ACT_UNSPEC;
  sk = bpf_sk_fullsock(sk);
  if (!sk) return TC_ACT_UNSPEC;
  mark = bpf_sk_storage_get(&knock_armed_1, sk, 0, 0);
  if (!mark) return TC_ACT_UNSPEC;
  if (mark->phase == KNOCK_ARMED) return check_syn(skb, mark);
  if (mark->phase == KNOCK_HOLD) return hold_back(mark, KNOCK_REFUSED_HELD);
  return TC_ACT_UNSPEC;
}

SEC("tc")
int knock_egress(struct __sk_buff *skb) {
  struct bpf_sock *sk = skb->sk;

  return sk && sk->state == TCP_SYN_SENT ? connecting(skb) : TC_ACT_UNSPEC;
}

static __always_inline struct bpf_sock *find_client(struct __sk_buff *skb, const struct headers *h) {
  struct bpf_sock_tuple tuple = {};
  __u16 source = unknown(*(const __u16 *)&h->tcp_fixed[0]), destination = *(const __u16 *)&h->tcp_fixed[2];

  if (h->ip_length == 20) {
    tuple.ipv4.saddr = unknown(*(const __u32 *)&h->ip[12]);
    tuple.ipv4.daddr = *(const __u32 *)&h->ip[16];
    tuple.ipv4.sport = source;
    tuple.ipv4.dport = destination;
    return bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
  }
  __builtin_memcpy(tuple.ipv6.saddr, &h->ip[8], 16);
  __builtin_memcpy(tuple.ipv6.daddr, &h->ip[24], 16);
  tuple.ipv6.sport = source;
  tuple.ipv6.dport = destination;
  return bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* TSecr back from T to what the kernel sent, or it takes the SYN+ACK for somebody else's. */
static __always_inline void restore_echo(struct __sk_buff *skb, const struct headers *h,
                                         const struct knock_socket *mark) {
  __u32 echo;

  if (mark->phase != KNOCK_ARMED || !mark->has_timestamp || mark->real_tsval == mark->tsval) return;
  int network = network_offset(skb, h);
  if (network < 0) return;
  __u32 tcp = network + h->tcp;
  __u32 field = find_timestamp(skb, tcp + TCP_HEADER, tcp + header_end(h));
  if (!field || bpf_skb_load_bytes(skb, field + 4, &echo, sizeof(echo))) return;
  if (bpf_ntohl(echo) != mark->tsval) return;
  replace_word(skb, tcp, field + 4, mark->tsval, mark->real_tsval);
}

static __attribute__((noinline)) int handshake(struct __sk_buff *skb) {
  struct headers h = {};

  if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6)) return TC_ACT_UNSPEC;
  if (read_headers(skb, &h) || h.protocol != IPPROTO_TCP) return TC_ACT_UNSPEC;
  if ((h.tcp_fixed[TCP_FLAG_BYTE] & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK)) return TC_ACT_UNSPEC;

  struct bpf_sock *sk = find_client(skb, &h);
  if (!sk) return TC_ACT_UNSPEC;
  struct knock_socket *mark = bpf_sk_storage_get(&knock_armed_1, sk, 0, 0);
  if (mark) restore_echo(skb, &h, mark);
  bpf_sk_release(sk);
  return TC_ACT_UNSPEC;
}

SEC("tc")
int knock_ingress(struct __sk_buff *skb) {
  const __u64 *until = echoes();

  if (!until || *until < bpf_jiffies64() || skb->len > HANDSHAKE_LONGEST) return TC_ACT_UNSPEC;
  return handshake(skb);
}

char license_text[] SEC("license") = "GPL";
