// listen(2) behind a guard, and accept(2) that returns only connections which pass the inspection.
#define _GNU_SOURCE
#include "listen.h"

#include "activation.h"
#include "descriptors.h"
#include "generated/originals.h"
#include "inspection.h"
#include "log.h"
#include "memory.h"
#include "socket.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

int listen_guarded(struct session *session, int fd, int backlog, uint8_t reuseport, const struct verdict *verdict)
{
    struct descriptor state = {.kind = DESCRIPTOR_GUARDED, .cookie = socket_cookie(fd), .reuseport = reuseport};
    inspection_expect(&state, verdict);
    struct descriptor *before = descriptor_find(fd);
    state.marked = before && before->marked;
    // An unguarded accept would follow where the descriptor can't be tracked.
    if (!descriptor_track(fd, &state)) {
        log_line(LOG_ERRORS, "listen: descriptor %d is beyond the million that can be tracked", fd);
        control_close(session);
        return control_failed();
    }
    int result = original_listen(fd, backlog);
    int error = result < 0 ? errno : 0;
    if (error) {
        int own = reuseport;
        descriptor_unwind(fd);
        original_setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &own, sizeof(own));
    }
    if (control_report(session, error)) {
        // Not guarded after all: what listens already can only be made deaf.
        original_shutdown(fd, SHUT_RDWR);
        descriptor_unwind(fd);
        return control_failed();
    }
    errno = error;
    return result;
}

int hook_listen(int fd, int backlog)
{
    int entry_errno = errno;
    enum tcp_state state = socket_tcp_state(fd);
    if (state != STATE_CLOSE && state != STATE_LISTEN)
        return original_listen(fd, backlog); // EINVAL, or nothing of ours
    struct descriptor *entry = descriptor_verify(fd);
    bool guarded = entry && atomic_load(&entry->kind) == DESCRIPTOR_GUARDED;
    // Only the backlog changes. After shutdown(2), though, the guard is gone with the socket's reuseport group.
    if (guarded && state == STATE_LISTEN)
        return original_listen(fd, backlog);

    struct session session;
    struct verdict verdict;
    uint8_t reuseport = guarded ? entry->reuseport : socket_option(fd, SOL_SOCKET, SO_REUSEPORT, 0) != 0;
    if (!control_listen(&session, fd, "listen", &verdict))
        return control_failed();
    if (verdict.head.action == ACTION_PROCEED) {
        int result = listen_guarded(&session, fd, backlog, reuseport, &verdict);
        if (result == 0)
            errno = entry_errno;
        return result;
    }
    control_close(&session);
    if (verdict.head.action == ACTION_PASS) {
        if (!entry)
            descriptor_forget(fd);
        errno = entry_errno;
        return original_listen(fd, backlog);
    }
    return verdict.head.action == ACTION_REFUSE ? verdict_refuse(&verdict) : control_failed();
}

static bool inspection_passed(int fd, int listener, const struct inspection *inspection)
{
    if (inspection_plain(fd, inspection))
        return true;
    struct session session;
    struct verdict verdict;
    if (!control_accepted(&session, fd, listener, &verdict))
        return false;
    control_close(&session);
    return verdict.head.action == ACTION_PASS;
}

// Not by way of SO_LINGER: a control process that hangs holds the socket open, too.
static void reset(int fd)
{
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    original_connect(fd, &nowhere, sizeof(nowhere));
    original_close(fd);
}

static bool inspects(int fd, struct inspection *inspection)
{
    struct descriptor *entry = descriptor_tracked(fd) ? descriptor_find(fd) : NULL;
    // Whether it is still that listener makes no difference then: that would be a question to the kernel for each connection.
    if (entry && atomic_load(&entry->kind) == DESCRIPTOR_GUARDED && !entry->inspect)
        return false;
    entry = entry ? descriptor_verify(fd) : NULL;
    if (!entry || !entry->inspect)
        return false;
    *inspection = entry->inspection;
    return true;
}

static bool connection_waits(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return original_poll(&entry, 1, 0) > 0;
}

static bool may_accept(int fd)
{
    if (!descriptor_tracked(fd) || activation_settled(fd))
        return true;
    errno = EPROTONOSUPPORT;
    return false;
}

int hook_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    int entry_errno = errno;
    socklen_t room = 0;
    if (!may_accept(fd))
        return -1;
    for (bool again = false;; again = true) {
        // Looked up first: another thread may close the listener while this one waits.
        struct inspection inspection;
        bool inspect = inspects(fd, &inspection);
        // The next connection, if this one fails, has as much room for its address. A bad pointer the kernel refuses.
        if (inspect && size)
            again ? memory_write(size, &room, sizeof(room)) : memory_read(&room, size, sizeof(room));
        bool expected = inspect && connection_waits(fd);
        int accepted = flags ? original_accept4(fd, address, size, flags) : original_accept(fd, address, size);
        if (accepted < 0)
            return -1;
        log_descriptor_replaced(accepted, false);
        if (descriptor_tracked(accepted))
            descriptor_forget(accepted);
        if (!inspect || inspection_passed(accepted, fd, &inspection)) {
            errno = entry_errno;
            return accepted;
        }
        reset(accepted);
        // A program that waits by select and never blocks here otherwise (PostgreSQL up to 15) would be stuck until somebody
        // else connects. EINTR is what programs best know to repeat.
        if (expected && !connection_waits(fd) && !socket_nonblocking(fd)) {
            errno = EINTR;
            return -1;
        }
    }
}

int hook_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    return hook_accept4(fd, address, size, 0);
}
