#define _GNU_SOURCE
#include "hints.h"

#include "descriptors.h"
#include "log.h"
#include "socket.h"

#include <limits.h>
#include <time.h>

static const int64_t patience_ns = 2000000000;
static _Atomic int64_t next_at_ns = INT64_MAX;

int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t hint_time(void)
{
    return monotonic_ns() + patience_ns;
}

void hints_schedule(int64_t at_ns)
{
    int64_t next = atomic_load(&next_at_ns);
    while (at_ns < next && !atomic_compare_exchange_weak(&next_at_ns, &next, at_ns))
        continue;
}

static void explain(int fd, struct descriptor *entry)
{
    if (atomic_exchange(&entry->hint_at_ns, 0) == 0)
        return;
    // Through a copy of the descriptor, here or in another process, the connect may have been made long ago.
    if (socket_state(fd) != STATE_SYN_SENT) {
        descriptor_forget(fd);
        return;
    }
    log_line(LOG_ERRORS,
             "descriptor %d waits for an answer, but its connect is held back until KNOCK_INTLEN bytes are written (%u so far): "
             "set KNOCK_INTLEN, on both sides, to no more than the client writes first; 0 if the server speaks first",
             fd, atomic_load(&entry->gathered));
}

static void visit(int fd, struct descriptor *entry, void *data)
{
    (void)data;
    int64_t at = atomic_load(&entry->hint_at_ns);
    if (atomic_load(&entry->kind) != DESCRIPTOR_DELAYED || at == 0)
        return;
    if (at <= monotonic_ns())
        explain(fd, entry);
    else
        hints_schedule(at);
}

int64_t hints_due(void)
{
    int64_t now = monotonic_ns(), next = atomic_load(&next_at_ns);
    if (next <= now) {
        atomic_store(&next_at_ns, INT64_MAX);
        descriptors_each(visit, NULL);
        next = atomic_load(&next_at_ns);
    }
    if (next == INT64_MAX)
        return -1;
    return next > now ? next - now : 0;
}
