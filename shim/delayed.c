#define _GNU_SOURCE
#include "delayed.h"

#include "connect.h"
#include "generated/originals.h"
#include "memory.h"
#include "socket.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>

struct descriptor *delayed_find(int fd)
{
    struct descriptor *entry = descriptor_find(fd);
    enum descriptor_kind kind = entry ? atomic_load(&entry->kind) : DESCRIPTOR_UNTRACKED;
    if (kind == DESCRIPTOR_UNSEEN && (entry = descriptor_verify(fd)))
        return atomic_load(&entry->kind) == DESCRIPTOR_DELAYED ? entry : NULL;
    return kind == DESCRIPTOR_DELAYED || kind == DESCRIPTOR_CONNECTING ? descriptor_verify(fd) : NULL;
}

// Of a connect that another process began, or this one by another descriptor, the control process knows all.
static bool recall(int fd, struct descriptor *entry)
{
    int error = errno;
    struct session session;
    struct verdict verdict;
    if (entry->peer_size == 0 && control_send(&session, fd, NULL, 0, 0, &verdict)) {
        control_close(&session);
        if (verdict.head.action == ACTION_GATHERED) {
            atomic_store(&entry->gathered, verdict.head.prefix_length);
            memcpy(entry->peer, verdict.head.peer, sizeof(entry->peer));
            entry->peer_size = verdict.head.peer_size;
        }
    }
    errno = error;
    return entry->peer_size > 0;
}

uint32_t delayed_gathered(int fd, struct descriptor *entry)
{
    recall(fd, entry);
    uint32_t gathered = atomic_load(&entry->gathered);
    bool sent = gathered > 0 && atomic_load(&entry->kind) == DESCRIPTOR_DELAYED && socket_state(fd) != STATE_SYN_SENT;
    return sent ? 0 : gathered; // by a copy
}

bool delayed_peer(int fd, struct descriptor *entry)
{
    return socket_state(fd) == STATE_SYN_SENT && recall(fd, entry);
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

// Sends the program's vector with the gathered bytes in front, in the place that delayed_send has left; one of IOV_MAX parts
// is cut by one, which is a short write. -1 with EAGAIN or EINTR leaves everything as it was, to be tried again.
static ssize_t flush(int fd, struct iovec prefix, const struct msghdr *message, int flags)
{
    struct msghdr whole = *message;
    if (prefix.iov_len == 0)
        return original_sendmsg(fd, message, flags);
    flags &= ~MSG_ZEROCOPY; // the gathered bytes are on this stack
    whole.msg_name = NULL;
    whole.msg_namelen = 0;
    whole.msg_iov--;
    whole.msg_iov[0] = prefix;
    whole.msg_iovlen += whole.msg_iovlen < IOV_MAX;
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
    if (result < 0)
        descriptor_unwind(fd);
    else
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
        descriptor_gathered(entry, (uint32_t)length);
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

ssize_t delayed_send(int fd, struct descriptor *entry, const struct msghdr *message, int flags)
{
    struct iovec parts[1 + IOV_MAX]; // the first one for what was gathered
    struct msghdr copy = *message;
    if (!memory_read(parts + 1, message->msg_iov, message->msg_iovlen * sizeof(*parts)))
        return -1;
    copy.msg_iov = parts + 1;
    ssize_t length = total(&copy), sent = PORT_TAKEN;
    if (length == 0)
        return 0;
    for (int tries = 0; tries < PORT_ATTEMPTS && sent == PORT_TAKEN; tries++)
        sent = attempt(fd, entry, &copy, (size_t)length, flags);
    if (sent != PORT_TAKEN)
        return sent;
    descriptor_forget(fd);
    socket_abandon(fd);
    errno = EADDRNOTAVAIL;
    return -1;
}
