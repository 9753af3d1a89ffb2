// What the library knows of the program's descriptors: an array by number, empty for all that stealth has nothing
// to do with. No locks: entries are published by their kind, and whatever must be decided atomically is decided in
// the control process, which sees the socket itself.
#ifndef KNOCKIFY_DESCRIPTORS_H
#define KNOCKIFY_DESCRIPTORS_H

#include "generated/messages.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum descriptor_kind {
    DESCRIPTOR_UNTRACKED = 0,
    DESCRIPTOR_UNSEEN,     // a fresh TCP socket, or one that came from elsewhere: looked at when it is used
    DESCRIPTOR_DELAYED,    // the connect is faked; bytes are being gathered
    DESCRIPTOR_CONNECTING, // the real connect is under way; gathered bytes still have to be sent
    DESCRIPTOR_LISTENING,  // a listener that came from elsewhere: whether it has its guard is found out when it is used
    DESCRIPTOR_GUARDED,    // a guarded listener
    DESCRIPTOR_MARKED,     // the program set TCP_STEALTH on it
    DESCRIPTOR_ANNOUNCED,  // connected (or about to be) with a token over bytes that the program has yet to write
};

// What it takes to inspect a first segment; all zero where only the control process can.
struct inspection {
    uint32_t protected_length; // bytes
    uint32_t midstate[MIDSTATE_SIZE / 4];
};

struct descriptor {
    _Atomic uint32_t kind;
    _Atomic uint32_t gathered;   // bytes that the program believes are sent, and are not
    _Atomic int64_t hint_at_ns;  // CLOCK_MONOTONIC; when to explain the stall, 0 once done; of a listener, when to try again
    uint64_t cookie;             // SO_COOKIE: tells this socket from a later one with the same number
    uint32_t backlog;            // of a listener that came from elsewhere
    union {
        struct {
            uint32_t peer_size;
            uint8_t peer[PEER_SIZE]; // struct sockaddr as the program gave it
        };
        struct inspection inspection; // of a listener
    };
    uint8_t inspect;             // accepted connections are to be inspected
    uint8_t reuseport;           // the program's own SO_REUSEPORT
    uint8_t marked;              // the program set TCP_STEALTH on it
    uint8_t forked;              // another process has the socket, too
};
_Static_assert(sizeof(struct descriptor) <= 64, "a tracked socket costs at most 64 bytes");

extern _Atomic uint32_t descriptors_tracked_count;
extern _Atomic uint32_t descriptors_unsettled_count;
extern _Atomic uint32_t descriptors_unguarded_count;

// The entry of a tracked descriptor, or NULL. Callable anywhere, a signal handler included.
struct descriptor *descriptor_find(int fd);

static inline bool descriptor_tracked(int fd)
{
    return atomic_load_explicit(&descriptors_tracked_count, memory_order_relaxed) != 0 && descriptor_find(fd);
}

// Whether there is a delayed connect or a listener that may lack its guard.
static inline bool descriptors_unsettled(void)
{
    return atomic_load_explicit(&descriptors_unsettled_count, memory_order_relaxed) != 0;
}

// Whether there is a listener that may lack its guard.
static inline bool descriptors_unguarded(void)
{
    return atomic_load_explicit(&descriptors_unguarded_count, memory_order_relaxed) != 0;
}

// The entry, if the number still stands for the socket that it was made for; a stale one is forgotten, and an unseen one
// is looked at. NULL also for a socket that is fresh. One getsockopt.
struct descriptor *descriptor_verify(int fd);

// The number is that of a new TCP socket, or of anything that came from `elsewhere`, where others may have it too. Asks
// nobody: what another process, or the program by a copy of it, makes of the socket shows when it is used.
void descriptor_expect(int fd, bool elsewhere);

// Starts tracking. False when the number is beyond the table, or memory is out.
bool descriptor_track(int fd, const struct descriptor *state);

// Moves between kinds, keeping the counts, and wakes who waits for the end of a delay.
void descriptor_change(struct descriptor *entry, enum descriptor_kind kind);

// Waits until the descriptor is no longer delayed, at most this long. -1 with EINTR when a signal came.
int descriptor_wait(struct descriptor *entry, int64_t timeout_ns);

void descriptor_forget(int fd);

// No longer connecting: the socket is as good as new, but for what the program set on it.
void descriptor_unwind(int fd);

void descriptor_copy(int from, int to);

// Forgets all tracked descriptors of the range, telling `lost` of each first. Does nothing in a child of vfork,
// which shares this memory with a parent that keeps its descriptors.
void descriptors_forget_range(unsigned int first, unsigned int last, void (*lost)(int fd, struct descriptor *entry));

// The number of tracked descriptors from `first` on, but for `fd`, that stand for the same socket.
unsigned int descriptor_twins(int fd, const struct descriptor *entry, int first);

// So many more bytes were gathered, through whichever descriptor of the socket.
void descriptor_gathered(const struct descriptor *entry, uint32_t count);

// Calls `visit` for each tracked descriptor.
void descriptors_each(void (*visit)(int fd, struct descriptor *entry, void *data), void *data);

#endif
