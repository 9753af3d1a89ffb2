/* A guarded listener: the kernel runs this for every packet that would reach it. SK_DROP makes the lookup find no
 * socket at all, so whatever does not carry the token gets a closed port's answer from a closed port's code. */
#include <linux/bpf.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "packet.h"
#include "records.h"
#include "replays.h"
#include "secrets.h"
#include "syns.h"
#include "token.h"

/* Set before loading; the verifier then sees constants. */
const volatile struct knock_guard knock_guard = {};

/* The option bytes of a Linux client: MSS, SACK permitted (or padding), timestamps, window scale. Anything else is
 * parsed the long way. 0 without a timestamp option, as the token wants it. */
static __always_inline __u32 tsval_of(struct sk_reuseport_md *packet, const __u8 *tcp, const void *end) {
  __u32 header = (tcp[12] >> 4) * 4;
  __u32 tsval, field;

  if (header == 40 && (const void *)(tcp + 40) <= end && tcp[20] == OPTION_MSS && tcp[21] == 4 &&
      ((tcp[24] == OPTION_SACK && tcp[25] == 2) || (tcp[24] == OPTION_NOP && tcp[25] == OPTION_NOP)) &&
      tcp[26] == OPTION_TIMESTAMP && tcp[27] == OPTION_TIMESTAMP_LENGTH && tcp[36] == OPTION_NOP &&
      tcp[37] == OPTION_WINDOW_SCALE && tcp[38] == 3)
    return word_at(&tcp[28]);

  field = find_timestamp(packet, TCP_HEADER, header);
  if (!field || bpf_skb_load_bytes(packet, field, &tsval, sizeof(tsval))) return 0;
  return bpf_ntohl(tsval);
}

/* Draft sections 3.1 and 3.2. The address is the packet's, whatever family the listener has. Which secret the token was
 * made from: 0 is the listener's own, otherwise the slot of a named one; -1 is none. */
static __always_inline int carries_token(__u32 isn, __u32 tsval, const struct knock_tuple *tuple) {
  __u32 address[4];
  __u32 integrity = knock_guard.integrity;

  if (knock_guard.has_secret) {
    __builtin_memcpy(address, tuple->destination, sizeof(address));
    __u32 av = knock_authenticator(knock_guard.secret, address, tsval, bpf_ntohs(tuple->destination_port),
                                   integrity ? isn & 0xffff : 0);
    if (integrity ? (av ^ isn) >> 16 == 0 : av == isn) return 0;
  }
  __u32 slot = knock_guard.named ? find_secret(tuple, tsval, isn, integrity) : 0;
  return slot ? (int)slot : -1;
}

/* Without T all SYNs to a listener carry the same token, and nobody can tell a replay. */
static __always_inline int may_come_again(__u32 isn, __u32 tsval, const struct knock_tuple *tuple, __u64 now) {
  SLOTS struct knock_bearer bearer = {.since = now, .isn = unknown(isn), .tsval = unknown(tsval)};

  if (!knock_guard.refuse_replays || !tsval) return 1;
  __builtin_memcpy(bearer.source, tuple->source, sizeof(bearer.source));
  return !knock_is_replayed(&bearer);
}

static __always_inline struct finding judge_syn(__u32 isn, __u32 tsval, const struct knock_tuple *tuple) {
  struct finding found = {.verdict = KNOCK_REJECTED};
  int secret = carries_token(isn, tsval, tuple);
  if (secret < 0) return found;

  found.secret = secret;
  /* Not sooner: to read the clock takes a wrong SYN longer than all but its token. */
  found.now = bpf_ktime_get_ns();
  found.verdict = may_come_again(isn, tsval, tuple, found.now) ? KNOCK_AUTHORISED : KNOCK_REPLAYED;
  if (found.verdict == KNOCK_AUTHORISED) knock_remember_syn(tuple, found.now, isn, found.secret);
  return found;
}

static __always_inline int judge(struct sk_reuseport_md *packet) {
  const __u8 *tcp = packet->data;
  const void *end = packet->data_end;
  SLOTS struct knock_tuple tuple = {};

  if ((const void *)(tcp + TCP_HEADER) > end) return SK_DROP;
  __u8 flags = tcp[TCP_FLAG_BYTE] & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN);
  /* A stock listener keeps silent to FIN, NULL and XMAS where a closed port answers: none of them may reach it. */
  if (flags != TCP_SYN && (flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_ACK) return SK_DROP;
  if (tuple_of(packet, tcp, &tuple)) return SK_DROP;

  __u32 sequence = word_at(&tcp[4]);
  if (flags == TCP_SYN) {
    __u32 tsval = tsval_of(packet, tcp, end);
    /* Now, and no pointer later: without CAP_PERFMON the place on the stack where MD5 would have put it is lost. */
    __u64 cookie = bpf_get_socket_cookie(packet->sk);
    struct finding found = judge_syn(sequence, tsval, &tuple);
    /* See stack.h. */
    barrier_var(found.verdict);
    barrier_var(found.secret);
    record(cookie, &tuple, &found);
    return found.verdict == KNOCK_AUTHORISED ? SK_PASS : SK_DROP;
  }
  /* A listener that answers with SYN cookies has no other memory of a SYN when its ACK arrives. The cookie is over
   * the ISN, which the kernel takes from this ACK: no other sequence number would make a connection. */
  return knock_was_authorised(&tuple, sequence - 1) ? SK_PASS : SK_DROP;
}

SEC("sk_reuseport")
int knock_guard_listener(struct sk_reuseport_md *packet) { return judge(packet); }

char license_text[] SEC("license") = "GPL";
