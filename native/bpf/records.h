/* What the guards leave to be seen: how many SYNs each listener got, and while somebody follows, which. */
#ifndef KNOCKIFY_RECORDS_H
#define KNOCKIFY_RECORDS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "layout.h"

/* Never read here: user space hangs it on a listener, so that it dies with the listener. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct knock_listener);
} knock_guarded_1 SEC(".maps");

/* An array and not a hash map, and the processor's own copy: a wrong SYN is not to wait for either. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, KNOCK_COUNTS);
  __type(key, __u32);
  __type(value, struct knock_counts);
} knock_counts_1 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, KNOCK_FOLLOWING);
  __type(key, __u32);
  __type(value, __u64);
} knock_follow_1 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 65536);
} knock_events_1 SEC(".maps");

_Static_assert(KNOCK_LAYOUT == 1, "rename the maps");

/* 100 records a second on average, and as many at once after a quiet second. */
#define RECORD_INTERVAL (10ULL * 1000 * 1000)
#define RECORD_BURST (100 * RECORD_INTERVAL)

/* What was found of a SYN. */
struct finding {
  /* enum knock_verdict. 8 bytes each: see stack.h. */
  __u64 verdict;
  /* Where the token is right. */
  __u64 secret;
  __u64 now;
};

static __always_inline struct knock_counts *counts_of(__u64 cookie) {
  for (__u32 i = 0; i < KNOCK_COUNT_PLACES; i++) {
    __u32 place = (cookie + i) % KNOCK_COUNTS;
    struct knock_counts *counts = bpf_map_lookup_elem(&knock_counts_1, &place);
    if (counts && counts->cookie == cookie) return counts;
  }
  return 0;
}

static __always_inline void count(__u64 cookie, const struct finding *found) {
  struct knock_counts *counts = counts_of(cookie);
  if (!counts) return;

  if (found->verdict != KNOCK_AUTHORISED) {
    counts->rejected++;
    return;
  }
  counts->authorised++;
  counts->last = found->now;
  counts->secret = found->secret;
}

static __always_inline __u64 *following(__u32 element) { return bpf_map_lookup_elem(&knock_follow_1, &element); }

/* Two processors that look at the same moment may both find room: then there is a record more. */
static __always_inline int may_record(__u64 now) {
  __u64 *next = following(KNOCK_NEXT_RECORD);

  if (!next || *next > now + RECORD_BURST - RECORD_INTERVAL) return 0;
  *next = (*next < now ? now : *next) + RECORD_INTERVAL;
  return 1;
}

static __always_inline int write_record(__u64 now, __u64 cookie, const struct knock_tuple *tuple,
                                        const struct finding *found) {
  struct knock_event *event = bpf_ringbuf_reserve(&knock_events_1, sizeof(*event), 0);
  if (!event) return 0;

  event->time = now;
  event->cookie = cookie;
  event->tuple = *tuple;
  event->verdict = found->verdict;
  event->secret = found->verdict == KNOCK_REJECTED ? 0 : found->secret;
  event->unused = 0;
  bpf_ringbuf_submit(event, 0);
  return 1;
}

/* Whoever follows says so again and again: nothing is written for one that was killed. */
static __always_inline void tell(__u64 until, __u64 cookie, const struct knock_tuple *tuple,
                                 const struct finding *found) {
  __u64 now = bpf_ktime_get_ns();
  if (now > until || (may_record(now) && write_record(now, cookie, tuple, found))) return;

  __u64 *suppressed = following(KNOCK_SUPPRESSED);
  if (suppressed) __sync_fetch_and_add(suppressed, 1);
}

static __always_inline void record(__u64 cookie, const struct knock_tuple *tuple, const struct finding *found) {
  const __u64 *until = following(KNOCK_FOLLOWED_UNTIL);

  count(cookie, found);
  if (__builtin_expect(until && *until, 0)) tell(*until, cookie, tuple, found);
}

#endif
