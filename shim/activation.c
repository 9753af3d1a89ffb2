#define _GNU_SOURCE
#include "activation.h"

#include "descriptors.h"
#include "generated/originals.h"
#include "hints.h"
#include "inspection.h"
#include "listen.h"
#include "request.h"
#include "socket.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST_PASSED = 3 }; // sd_listen_fds(3)

// A loop that accepts and is refused must not flood the control process, or stderr.
static const int64_t retry_ns = 1000000000;

static bool track_guarded(int fd, const struct verdict *verdict)
{
    struct descriptor state = {.kind = DESCRIPTOR_GUARDED, .cookie = socket_cookie(fd)};
    inspection_expect(&state, verdict);
    return descriptor_track(fd, &state);
}

// The kernel takes no guard for a socket that listens. So the control process ends that, which resets who got in
// unchecked; the port stays bound, and here the socket listens again.
static bool guard(int fd, uint32_t backlog)
{
    struct session session;
    struct verdict verdict;
    uint8_t reuseport = socket_option(fd, SOL_SOCKET, SO_REUSEPORT, 0) != 0;
    if (!control_listen(&session, fd, "accept on a listener that came with the program", &verdict))
        return false;
    if (verdict.head.action == ACTION_PROCEED && socket_state(fd) != STATE_LISTEN)
        return listen_guarded(&session, fd, (int)backlog, reuseport, &verdict) == 0;
    control_close(&session);
    switch (verdict.head.action) {
    case ACTION_PROCEED: // it has its guard already
        return track_guarded(fd, &verdict);
    case ACTION_PASS:
        descriptor_forget(fd);
        return true;
    default:
        return false;
    }
}

bool activation_settled(int fd)
{
    struct descriptor *entry = descriptor_find(fd);
    // Each accept() of a guarded listener comes by: no question to the kernel for that.
    if (!entry || atomic_load(&entry->kind) == DESCRIPTOR_GUARDED)
        return true;
    entry = descriptor_verify(fd);
    if (!entry || atomic_load(&entry->kind) != DESCRIPTOR_LISTENING)
        return true;
    if (monotonic_ns() < atomic_load(&entry->hint_at_ns))
        return false;
    int error = errno;
    bool guarded = guard(fd, entry->backlog);
    if (!guarded)
        atomic_store(&entry->hint_at_ns, monotonic_ns() + retry_ns);
    errno = error;
    return guarded;
}

void activation_begin(void)
{
    const char *process = secure_getenv("LISTEN_PID"), *count = secure_getenv("LISTEN_FDS");
    if (!process || !count || strtol(process, NULL, 10) != getpid() || !descriptors_unsettled() || !settings_present())
        return;
    long end = FIRST_PASSED + strtol(count, NULL, 10);
    for (int fd = FIRST_PASSED; fd < end && descriptor_tracked(fd); fd++)
        activation_settled(fd);
}
