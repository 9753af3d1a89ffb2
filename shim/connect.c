// connect(2): armed by the control process, or faked until the protected bytes are known.
#define _GNU_SOURCE
#include "connect.h"

#include "descriptors.h"
#include "generated/originals.h"
#include "hints.h"
#include "log.h"
#include "memory.h"
#include "socket.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

int connect_armed(struct session *session, int fd, const struct sockaddr *address, socklen_t size)
{
    // In repair mode a socket "connects" without sending anything, and the program's data would vanish.
    if (socket_option(fd, IPPROTO_TCP, TCP_REPAIR, -1) != 0) {
        log_line(LOG_ERRORS, "%s: the socket was left in repair mode; it is unusable", session->call);
        socket_abandon(fd);
        return control_failed();
    }
    return original_connect(fd, address, size);
}

// Connected, or about to be: but for bytes that were announced, the library has nothing more to do with the socket.
static void release(int fd, bool announced)
{
    struct descriptor *entry = descriptor_find(fd);
    if (entry && announced)
        descriptor_change(entry, DESCRIPTOR_ANNOUNCED);
    else if (entry && atomic_load(&entry->kind) == DESCRIPTOR_UNSEEN)
        descriptor_forget(fd);
}

static int connect_now(struct session *session, int fd, const struct sockaddr *address, socklen_t size, bool announced)
{
    int result = connect_armed(session, fd, address, size);
    int error = result < 0 ? errno : 0;
    // Where all went well nobody need wait until the report is read: it can't be mistaken for one of the socket's next connect.
    if (!announced && (result == 0 || (error == EINPROGRESS && socket_sent_freely(fd)))) {
        control_tell(session, error);
        if (result < 0)
            release(fd, announced);
        errno = error;
        return result;
    }
    // Interrupted, the connect goes on in the background.
    if (control_report(session, error == EINTR ? EINPROGRESS : error)) {
        error = EPROTONOSUPPORT;
        result = -1;
    }
    if (error == 0 || error == EINPROGRESS || error == EINTR)
        release(fd, announced);
    errno = error;
    return result;
}

// The kernel's pretence wakes nobody, and an edge-triggered epoll that had the socket before would wait for ever. Setting
// this option, even to what it was, tells whoever waits that the socket is writable.
static void wake(int fd)
{
    uint32_t least;
    socklen_t size = sizeof(least);
    int error = errno;
    if (original_getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &least, &size) == 0)
        original_setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &least, size);
    errno = error;
}

static int connect_later(int fd, const struct sockaddr *address, socklen_t size)
{
    struct descriptor state = {
        .kind = DESCRIPTOR_DELAYED,
        .hint_at_ns = hint_time(),
        .cookie = socket_cookie(fd),
        .peer_size = address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6),
    };
    memcpy(state.peer, address, size < state.peer_size ? size : state.peer_size);
    if (address->sa_family == AF_INET) // as the kernel gives it: without padding
        memset(state.peer + offsetof(struct sockaddr_in, sin_zero), 0, sizeof(((struct sockaddr_in *)0)->sin_zero));
    if (descriptor_track(fd, &state)) {
        wake(fd);
        hints_schedule(state.hint_at_ns);
        return 0;
    }
    log_line(LOG_ERRORS, "connect: descriptor %d is beyond the million that can be tracked", fd);
    socket_abandon(fd);
    return control_failed();
}

static bool is_delayed(int fd)
{
    struct descriptor *entry = descriptor_verify(fd);
    return entry && atomic_load(&entry->kind) == DESCRIPTOR_DELAYED && socket_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0) != 0;
}

// Nothing of an earlier connect counts any more; copies that are made from now on take over that.
static void begin_anew(int fd)
{
    struct descriptor *entry = descriptor_find(fd);
    if (!entry)
        descriptor_expect(fd, false);
    else if (atomic_load(&entry->kind) != DESCRIPTOR_UNSEEN && descriptor_verify(fd))
        descriptor_unwind(fd);
}

int hook_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int entry_errno = errno;
    struct sockaddr_storage copy;
    if (size < sizeof(address->sa_family) || size > sizeof(copy) || !memory_plausible(address))
        return original_connect(fd, address, size);
    // A look into memory that may not be there is a system call, which only sockets that are TCP ones for sure are worth.
    if (descriptor_tracked(fd)) {
        if (!memory_read(&copy, address, size))
            return -1;
        address = (const struct sockaddr *)&copy;
    }
    if (address->sa_family == AF_UNSPEC) {
        if (descriptor_tracked(fd))
            descriptor_unwind(fd);
        return original_connect(fd, address, size);
    }
    size_t least = address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : offsetof(struct sockaddr_in6, sin6_scope_id);
    if ((address->sa_family != AF_INET && address->sa_family != AF_INET6) || size < least)
        return original_connect(fd, address, size);
    enum tcp_state state = socket_tcp_state(fd);
    if (state == STATE_SYN_SENT && is_delayed(fd)) { // the kernel would let a blocking one wait for a handshake that nobody has begun
        errno = EISCONN;
        return -1;
    }
    // What is connecting, connected or listening gets EALREADY or EISCONN from the kernel. The kernel's word counts, not
    // ours: a listener that was shut down, or a delayed connect that was given up through a copy, would send a SYN.
    if (state != STATE_CLOSE)
        return original_connect(fd, address, size);
    begin_anew(fd);

    struct session session;
    struct verdict verdict;
    for (int attempt = 1;; attempt++) {
        if (!control_connect(&session, fd, address, size, &verdict)) {
            socket_abandon(fd);
            return control_failed();
        }
        if (verdict.head.action != ACTION_PROCEED)
            break;
        int result = connect_now(&session, fd, address, size, verdict.head.follow);
        if (result < 0 && errno == EADDRNOTAVAIL && attempt < PORT_ATTEMPTS)
            continue;
        if (result == 0)
            errno = entry_errno;
        return result;
    }
    control_close(&session);
    switch (verdict.head.action) {
    case ACTION_PASS:
        errno = entry_errno;
        return original_connect(fd, address, size);
    case ACTION_DEFERRED:
        errno = entry_errno;
        return connect_later(fd, address, size);
    case ACTION_REFUSE:
        return verdict_refuse(&verdict);
    default:
        socket_abandon(fd);
        return control_failed();
    }
}
