// The sending calls: on a delayed connect they gather; with MSG_FASTOPEN they connect first, as connect(2) does.
#define _GNU_SOURCE
#include "control.h"
#include "delayed.h"
#include "descriptors.h"
#include "generated/originals.h"
#include "log.h"
#include "memory.h"
#include "rights.h"
#include "socket.h"

#include <errno.h>
#include <limits.h>

// The kernel took `sent` bytes. Where the program announced its first bytes (TCP_STEALTH_INTEGRITY), the control process
// says whether these are them; the peer resets the connection if not.
static ssize_t compare(int fd, const struct iovec *parts, size_t count, ssize_t sent)
{
    struct descriptor *entry = sent > 0 ? descriptor_find(fd) : NULL;
    if (!entry || atomic_load(&entry->kind) != DESCRIPTOR_ANNOUNCED)
        return sent;
    int error = errno;
    struct session session;
    struct verdict verdict;
    bool answered = control_send(&session, fd, parts, count, (size_t)sent, &verdict);
    if (answered)
        control_close(&session);
    if (!answered || !verdict.head.follow)
        descriptor_unwind(fd);
    errno = error;
    return sent;
}

static ssize_t compare_buffer(int fd, const void *data, size_t length, ssize_t sent)
{
    struct iovec part = {.iov_base = (void *)data, .iov_len = length};
    return compare(fd, &part, 1, sent);
}

// TCP fast open is a connect in disguise: it would send a SYN without a token.
static int connect_first(int fd, const struct sockaddr *address, socklen_t size)
{
    if (!address || delayed_find(fd))
        return 0;
    return hook_connect(fd, address, size) < 0 && errno != EISCONN ? -1 : 0;
}

ssize_t hook_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr copy;
    bool fast_open = (flags & MSG_FASTOPEN) && socket_is_tcp(fd);
    if (fast_open || delayed_find(fd)) {
        if (!memory_read(&copy, message, sizeof(copy)) || copy.msg_iovlen > IOV_MAX)
            return original_sendmsg(fd, message, flags);
        if (fast_open && connect_first(fd, copy.msg_name, copy.msg_namelen) < 0)
            return -1;
        flags &= ~MSG_FASTOPEN;
        struct descriptor *entry = delayed_find(fd);
        if (entry)
            return delayed_send(fd, entry, &copy, flags);
    }
    ssize_t sent = original_sendmsg(fd, message, flags);
    if (sent < 0)
        return -1;
    rights_sent(message);
    return compare(fd, message->msg_iov, message->msg_iovlen, sent);
}

static ssize_t send_buffer(int fd, struct descriptor *entry, const void *data, size_t length, int flags)
{
    struct iovec part = {.iov_base = (void *)data, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    return delayed_send(fd, entry, &message, flags);
}

ssize_t hook_send(int fd, const void *data, size_t length, int flags)
{
    struct descriptor *entry = delayed_find(fd);
    if (entry)
        return send_buffer(fd, entry, data, length, flags);
    return compare_buffer(fd, data, length, original_send(fd, data, length, flags));
}

ssize_t hook_write(int fd, const void *data, size_t length)
{
    struct descriptor *entry = delayed_find(fd);
    if (entry)
        return send_buffer(fd, entry, data, length, 0);
    return compare_buffer(fd, data, length, original_write(fd, data, length));
}

ssize_t hook_sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *address, socklen_t size)
{
    if ((flags & MSG_FASTOPEN) && socket_is_tcp(fd)) {
        if (connect_first(fd, address, size) < 0)
            return -1;
        flags &= ~MSG_FASTOPEN;
        address = NULL;
        size = 0;
    }
    struct descriptor *entry = delayed_find(fd);
    if (entry)
        return send_buffer(fd, entry, data, length, flags);
    return compare_buffer(fd, data, length, original_sendto(fd, data, length, flags, address, size));
}

ssize_t hook_writev(int fd, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = count < 0 ? 0 : (size_t)count};
    struct descriptor *entry = delayed_find(fd);
    if (entry && parts && count >= 0 && count <= IOV_MAX)
        return delayed_send(fd, entry, &message, 0);
    return compare(fd, parts, message.msg_iovlen, original_writev(fd, parts, count));
}

static bool is_short(const struct msghdr *message, size_t sent)
{
    size_t total = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        total += message->msg_iov[i].iov_len;
    return sent < total;
}

int hook_sendmmsg(int fd, struct mmsghdr *batch, unsigned int count, int flags)
{
    if (!descriptor_tracked(fd) && !(flags & MSG_FASTOPEN)) {
        int sent = original_sendmmsg(fd, batch, count, flags);
        for (int i = 0; i < sent; i++)
            rights_sent(&batch[i].msg_hdr);
        return sent;
    }
    count = count < IOV_MAX ? count : IOV_MAX; // as the kernel does
    for (unsigned int i = 0; i < count; i++) {
        ssize_t sent = hook_sendmsg(fd, &batch[i].msg_hdr, flags);
        unsigned int length = (unsigned int)sent;
        if (sent < 0 || !memory_write(&batch[i].msg_len, &length, sizeof(length)))
            return i > 0 ? (int)i : -1;
        // As in the kernel: what follows would take the place of what is missing.
        if (is_short(&batch[i].msg_hdr, length))
            return (int)i + 1;
    }
    return (int)count;
}

ssize_t hook_pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return delayed_find(fd) && offset == -1 ? hook_writev(fd, parts, count) : original_pwritev2(fd, parts, count, offset, flags);
}

// Data that goes from descriptor to descriptor never passes by here, where the token's bytes are gathered.
static bool unseen(int fd, const char *call)
{
    if (!delayed_find(fd))
        return false;
    log_line(LOG_ERRORS, "%s: the connect of descriptor %d waits for the bytes that its token covers, and these must be written", call, fd);
    errno = EPROTONOSUPPORT;
    return true;
}

ssize_t hook_sendfile(int fd, int source, off_t *offset, size_t length)
{
    return unseen(fd, "sendfile") ? -1 : original_sendfile(fd, source, offset, length);
}

ssize_t hook_splice(int source, off_t *source_offset, int target, off_t *target_offset, size_t length, unsigned int flags)
{
    return descriptor_tracked(target) && unseen(target, "splice")
               ? -1
               : original_splice(source, source_offset, target, target_offset, length, flags);
}
