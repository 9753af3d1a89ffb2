#define _GNU_SOURCE
#include "delayed.h"

#include "connect.h"
#include "generated/originals.h"
#include "socket.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>

// The program's vector with the gathered bytes in front; one of IOV_MAX parts is cut by one, which is a short write.
enum { MAX_VECTOR = IOV_MAX };

struct descriptor *delayed_find(int fd)
{
    struct descriptor *entry = descriptor_find(fd);
    enum descriptor_kind kind = entry ? atomic_load(&entry->kind) : DESCRIPTOR_UNTRACKED;
    return kind == DESCRIPTOR_DELAYED || kind == DESCRIPTOR_CONNECTING ? descriptor_verify(fd) : NULL;
}

static ssize_t total(const struct msghdr *message)
{
    size_t sum = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        sum += message->msg_iov[i].iov_len;
    return sum > SSIZE_MAX ? SSIZE_MAX : (ssize_t)sum;
}

// The gathered bytes were accepted long ago: they must go, whatever becomes of the rest.
static bool push(int fd, struct iovec rest, int flags)
{
    while (rest.iov_len > 0) {
        ssize_t sent = original_send(fd, rest.iov_base, rest.iov_len, flags & ~MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent < 0) {
            struct pollfd entry = {.fd = fd, .events = POLLOUT};
            original_poll(&entry, 1, -1);
            continue;
        }
        rest.iov_base = (char *)rest.iov_base + sent;
        rest.iov_len -= (size_t)sent;
    }
    return true;
}

// -1 with EAGAIN or EINTR leaves everything as it was, to be tried again.
static ssize_t flush(int fd, struct iovec prefix, const struct msghdr *message, int flags)
{
    struct iovec parts[MAX_VECTOR];
    struct msghdr whole = *message;
    flags &= ~MSG_ZEROCOPY; // the gathered bytes are on this stack
    if (prefix.iov_len == 0)
        return original_sendmsg(fd, message, flags);
    size_t count = message->msg_iovlen < MAX_VECTOR - 1 ? message->msg_iovlen : MAX_VECTOR - 1;
    parts[0] = prefix;
    memcpy(parts + 1, message->msg_iov, count * sizeof(*parts));
    whole.msg_name = NULL;
    whole.msg_namelen = 0;
    whole.msg_iov = parts;
    whole.msg_iovlen = count + 1;
    ssize_t sent = original_sendmsg(fd, &whole, flags);
    if (sent < 0)
        return -1;
    if ((size_t)sent >= prefix.iov_len)
        return sent - (ssize_t)prefix.iov_len;
    struct iovec rest = {.iov_base = (char *)prefix.iov_base + sent, .iov_len = prefix.iov_len - (size_t)sent};
    return push(fd, rest, flags) ? 0 : -1;
}

// MSG_DONTWAIT on a blocking socket: connect(2) has no such flag, but it honours the send timeout.
static int connect_without_waiting(struct session *session, int fd, const struct sockaddr *address, socklen_t size)
{
    struct timeval own, least = {.tv_usec = 1};
    socklen_t length = sizeof(own);
    if (original_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &own, &length) < 0)
        return -1;
    original_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &least, sizeof(least));
    int result = connect_armed(session, fd, address, size);
    int error = errno;
    original_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &own, sizeof(own));
    errno = error;
    return result;
}

// Forgets the descriptor and tells the control process how it ended.
static ssize_t settle(struct session *session, int fd, ssize_t result)
{
    int error = result < 0 ? errno : 0;
    descriptor_forget(fd);
    if (control_report(session, error))
        error = EPROTONOSUPPORT;
    errno = error;
    return result;
}

static ssize_t still_pending(struct session *session, int fd, struct descriptor *entry, int error)
{
    descriptor_change(entry, DESCRIPTOR_CONNECTING);
    if (control_report(session, EINPROGRESS)) {
        descriptor_forget(fd);
        error = EPROTONOSUPPORT;
    }
    errno = error;
    return -1;
}

enum { PORT_TAKEN = -2 };

static ssize_t send_first(struct session *session, int fd, struct descriptor *entry, const struct verdict *verdict,
                          const struct msghdr *message, int flags)
{
    if (verdict->head.action == ACTION_PROCEED) {
        const struct sockaddr *peer = (const struct sockaddr *)verdict->head.peer;
        bool patient = !(flags & MSG_DONTWAIT) || socket_nonblocking(fd);
        int connected = patient ? connect_armed(session, fd, peer, verdict->head.peer_size)
                                : connect_without_waiting(session, fd, peer, verdict->head.peer_size);
        if (connected < 0 && errno == EADDRNOTAVAIL) {
            control_close(session);
            return PORT_TAKEN;
        }
        if (connected < 0 && (errno == EINPROGRESS || errno == EINTR))
            return still_pending(session, fd, entry, errno == EINTR ? EINTR : EAGAIN);
        if (connected < 0)
            return settle(session, fd, -1);
    }
    ssize_t sent = flush(fd, verdict_prefix(verdict), message, flags);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return still_pending(session, fd, entry, errno);
    return settle(session, fd, sent);
}

// One request to the control process, and what follows from it; PORT_TAKEN asks for another.
static ssize_t attempt(int fd, struct descriptor *entry, const struct msghdr *message, size_t length, int flags)
{
    int entry_errno = errno;
    struct session session;
    struct verdict verdict;
    if (!control_send(&session, fd, message->msg_iov, message->msg_iovlen, length, &verdict)) {
        if (errno == EFAULT)
            return -1;
        socket_abandon(fd); // gathered bytes are lost: nothing that comes after them may be sent
        descriptor_forget(fd);
        return control_failed();
    }
    ssize_t result;
    switch (verdict.head.action) {
    case ACTION_GATHERED:
        atomic_fetch_add(&entry->gathered, (uint32_t)length);
        control_close(&session);
        errno = entry_errno;
        return (ssize_t)length;
    case ACTION_PROCEED:
    case ACTION_FLUSH:
        result = send_first(&session, fd, entry, &verdict, message, flags);
        if (result >= 0)
            errno = entry_errno;
        return result;
    case ACTION_PASS:
        control_close(&session);
        descriptor_forget(fd);
        errno = entry_errno;
        return original_sendmsg(fd, message, flags);
    default:
        control_close(&session);
        descriptor_forget(fd);
        return verdict_refuse(&verdict);
    }
}

// Takes `message` over for a delayed descriptor.
ssize_t delayed_send(int fd, struct descriptor *entry, const struct msghdr *message, int flags)
{
    ssize_t length = total(message), sent = PORT_TAKEN;
    if (length == 0)
        return 0;
    for (int tries = 0; tries < PORT_ATTEMPTS && sent == PORT_TAKEN; tries++)
        sent = attempt(fd, entry, message, (size_t)length, flags);
    if (sent != PORT_TAKEN)
        return sent;
    descriptor_forget(fd);
    socket_abandon(fd);
    errno = EADDRNOTAVAIL;
    return -1;
}
