/* The structs that the BPF programs share with user space. ts/engine/stock/layout.ts mirrors them; a test compares
 * the sizes with what the kernel reports. Fields are in host byte order unless they say otherwise. */
#ifndef KNOCKIFY_LAYOUT_H
#define KNOCKIFY_LAYOUT_H

#include <linux/bpf.h>
#include <linux/types.h>

/* A change of meaning without a change of size must raise this: a new control process takes over the maps of
 * its predecessor only when name and size are the same, and the number is part of the map's name. */
#define KNOCK_LAYOUT 1

#define KNOCK_NOTE_BYTES 2400

/* Phases of a marked socket. No value means "let everything through" except FREE and GUARDED. */
enum knock_phase {
  KNOCK_FREE = 0,
  /* Delayed, or being armed: none of its SYNs may leave. */
  KNOCK_HOLD = 1,
  /* Only a SYN with this token may leave. */
  KNOCK_ARMED = 2,
  /* A listener (or a socket about to listen) whose guard is attached. */
  KNOCK_GUARDED = 3,
};

/* Why a SYN was held back. */
enum knock_refusal {
  KNOCK_REFUSED_NOT = 0,
  /* A delayed socket tried to connect on its own. */
  KNOCK_REFUSED_HELD = 1,
  /* Another sequence number than the token. */
  KNOCK_REFUSED_ISN = 2,
  /* A timestamp option where T is 0, or none where T is not. */
  KNOCK_REFUSED_OPTION = 3,
  /* The timestamp offset is not the one that T was computed with. */
  KNOCK_REFUSED_OFFSET = 4,
  /* The headers could not be located or rewritten. */
  KNOCK_REFUSED_HEADERS = 5,
  /* Encrypted or encapsulated before any interface could see it. */
  KNOCK_REFUSED_ENCAPSULATED = 6,
};

/* Value of the map `armed`. */
struct knock_socket {
  __u32 phase;
  __u32 isn;
  /* T, the TSval that every SYN carries. */
  __u32 tsval;
  /* 1 when the SYN must carry a timestamp option. */
  __u32 has_timestamp;
  /* TSval that the kernel put into the newest SYN; goes back into TSecr of the SYN+ACK. */
  __u32 real_tsval;
  /* SYNs that passed. */
  __u32 seen;
  /* enum knock_refusal of the newest SYN that did not. */
  __u32 refused;
  /* For user space: what the application had set and arming takes away for a while (IP_LOCAL_PORT_RANGE) or a
   * disconnect loses (TCP_MAXSEG, TCP_WINDOW_CLAMP, TCP_QUICKACK). */
  __u32 port_range;
  __u32 max_segment;
  __u32 window_clamp;
  __u32 quick_ack;
};
_Static_assert(sizeof(struct knock_socket) == 44, "mirrored in ts/engine/stock/layout.ts");

/* Value of the map `notes`. */
struct knock_note {
  __u32 length;
  __u8 bytes[KNOCK_NOTE_BYTES];
};
_Static_assert(sizeof(struct knock_note) == 4 + KNOCK_NOTE_BYTES, "mirrored in ts/engine/stock/layout.ts");

/* Named secrets that can be accepted at a time. */
#define KNOCK_SLOTS 64

/* Value of the map `secrets`. */
struct knock_named {
  /* CLOCK_MONOTONIC, in ns: from then on it is not accepted any more. 0: the slot is empty. */
  __u64 until;
  /* As in struct knock_guard. */
  __u32 secret[16];
};
_Static_assert(sizeof(struct knock_named) == 72, "mirrored in ts/engine/stock/layout.ts");

/* The same for slot 0: which control process fills the slots, and from where. Guards don't read it. */
struct knock_keeper {
  __u64 highest;
  /* CLOCK_MONOTONIC, in ns: when it looked at its folder last. */
  __u64 since;
  __u32 pid;
  __u32 padding;
  /* SHA-256 of the user's number and the folder's path. */
  __u8 folder[32];
  __u8 unused[16];
};
_Static_assert(sizeof(struct knock_keeper) == sizeof(struct knock_named), "mirrored in ts/engine/stock/layout.ts");

/* Read-only data of a guard: one loaded program per secret and mode. */
struct knock_guard {
  /* The secret's 16 words as MD5 reads them: little-endian, held in host order. */
  __u32 secret[16];
  /* 0: there is none of the listener's own. */
  __u32 has_secret;
  /* 1: the named secrets are accepted, too. */
  __u32 named;
  /* 1: the token's lower half is the integrity hash. */
  __u32 integrity;
  /* 1: a token that came from another address before is refused, unless it has no T. */
  __u32 refuse_replays;
};
_Static_assert(sizeof(struct knock_guard) == 80, "mirrored in ts/engine/stock/layout.ts");

/* Source and destination of a segment as on the wire, in network byte order; an IPv4 address is the first 4 bytes. */
struct knock_tuple {
  __u8 source[16];
  __u8 destination[16];
  __u16 source_port;
  __u16 destination_port;
};
_Static_assert(sizeof(struct knock_tuple) == 36, "no padding: the bytes are hashed");

/* The maps `syns` and `tokens` are arrays of sets: a hash says in which set an entry is, and by its tag it is found there. When
 * a set is full, its oldest entry goes. An LRU hash map would forget in better order, but takes a microsecond for a new entry. */
#define KNOCK_WAYS 8
#define KNOCK_SYN_BITS 12
#define KNOCK_TOKEN_BITS 14

struct knock_set {
  /* How many entries there have been: the next one's place, modulo KNOCK_WAYS. */
  __u32 count;
  __u32 padding;
  __u32 tags[KNOCK_WAYS];
};

/* What became of the newest SYN of these addresses and ports that carried the token. */
struct knock_syn {
  /* CLOCK_MONOTONIC, in ns. */
  __u64 since;
  __u32 isn;
  /* Bytes that the first segment brought, counted from ISN+1; 0 as long as none came. */
  __u32 first;
  /* The slot of the named secret that it was made from; 0 for the listener's own. */
  __u32 slot;
  struct knock_tuple tuple;
};

/* Element of the map `syns`, at the upper KNOCK_SYN_BITS of knock_tuple_hash(). */
struct knock_syns {
  /* The tag is the hash. */
  struct knock_set set;
  struct knock_syn syns[KNOCK_WAYS];
};
_Static_assert(sizeof(struct knock_syns) == 488, "mirrored in ts/engine/stock/layout.ts");

/* Who brought a token first. Beside the ISN, T is enough to tell tokens: two for different destinations that have both in
 * common are one pair in 2^45 at least. */
struct knock_bearer {
  /* CLOCK_MONOTONIC, in ns. */
  __u64 since;
  /* As in struct knock_tuple. */
  __u32 source[4];
  __u32 isn;
  __u32 tsval;
};

/* Element of the map `tokens`, at the upper KNOCK_TOKEN_BITS of the ISN, which are the AV's in either mode. */
struct knock_tokens {
  struct bpf_spin_lock lock;
  __u32 padding;
  /* The tag is of ISN and T: in integrity mode half of the ISN may always be the same. */
  struct knock_set set;
  struct knock_bearer bearers[KNOCK_WAYS];
};
_Static_assert(sizeof(struct knock_tokens) == 304, "mirrored in ts/engine/stock/layout.ts");

#define KNOCK_PROGRAM_NAME 16

/* Value of the map `guarded`: who has the listener guarded, and how. */
struct knock_listener {
  /* CLOCK_REALTIME, in ms. */
  __u64 since;
  __u32 pid;
  __u32 uid;
  /* Bytes; 0 without integrity. */
  __u32 protected_length;
  __u32 refuse_replays;
  /* As /proc/PID/comm has it; empty where that is not to be read. */
  char program[KNOCK_PROGRAM_NAME];
};
_Static_assert(sizeof(struct knock_listener) == 40, "mirrored in ts/engine/stock/recordLayout.ts");

/* The counts of a listener are at the first of these places, from the one that its cookie names, that has its cookie. */
#define KNOCK_COUNTS 1024
#define KNOCK_COUNT_PLACES 8

/* Element of the map `counts`, one for each processor. */
struct knock_counts {
  /* The socket's cookie; 0 where nobody has the place. */
  __u64 cookie;
  __u64 authorised;
  __u64 rejected;
  /* Of the newest that was authorised: CLOCK_MONOTONIC, in ns, and the number of its secret. */
  __u64 last;
  __u64 secret;
};
_Static_assert(sizeof(struct knock_counts) == 40, "mirrored in ts/engine/stock/recordLayout.ts");

/* Elements of the map `follow`, 64 bits each. */
enum knock_following {
  /* Somebody follows the verdicts until then: CLOCK_MONOTONIC, in ns, its lower 22 bits a process id; 0 for nobody. */
  KNOCK_FOLLOWED_UNTIL = 0,
  /* No record before then would keep the average rate. */
  KNOCK_NEXT_RECORD = 1,
  /* Verdicts that were followed, and have no record. */
  KNOCK_SUPPRESSED = 2,
  KNOCK_FOLLOWING = 3,
};

enum knock_verdict {
  KNOCK_REJECTED = 0,
  KNOCK_AUTHORISED = 1,
  /* The token is right, and somebody else's. */
  KNOCK_REPLAYED = 2,
};

/* Record in the ring buffer `events`. */
struct knock_event {
  /* CLOCK_MONOTONIC, in ns. */
  __u64 time;
  /* The listener's. */
  __u64 cookie;
  struct knock_tuple tuple;
  /* enum knock_verdict. */
  __u8 verdict;
  /* Number of the secret that matched: 0 for the listener's own. */
  __u8 secret;
  __u16 unused;
};
_Static_assert(sizeof(struct knock_event) == 56, "mirrored in ts/engine/stock/recordLayout.ts");

#endif
