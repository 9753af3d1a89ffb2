// Reads on a delayed connect: nothing can arrive before the protected bytes are written.
#define _GNU_SOURCE
#include "descriptors.h"
#include "generated/originals.h"
#include "hints.h"
#include "rights.h"
#include "socket.h"

#include <errno.h>

static const int64_t slice_ns = 50000000;

// SO_RCVTIMEO in nanoseconds, or -1 for none.
static int64_t receive_timeout(int fd)
{
    struct timeval limit = {0};
    socklen_t size = sizeof(limit);
    int error = errno;
    original_getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &size);
    errno = error;
    return limit.tv_sec || limit.tv_usec ? limit.tv_sec * 1000000000 + limit.tv_usec * 1000 : -1;
}

// Through a copy of the descriptor the connect may have been made already, or may have failed.
static bool over(int fd)
{
    enum tcp_state state = socket_state(fd);
    return state != STATE_SYN_SENT && state != STATE_CLOSE;
}

static int unavailable(void)
{
    errno = EAGAIN;
    return -1;
}

// The program blocks on a delayed connect. Arming takes the socket back for a moment, and a thread that sleeps in the
// kernel would see that as an end: so it sleeps here, until another one has written the protected bytes.
static int wait_for_connect(int fd, struct descriptor *entry)
{
    int64_t limit = receive_timeout(fd), start = monotonic_ns();
    while (atomic_load(&entry->kind) == DESCRIPTOR_DELAYED && !over(fd)) {
        int64_t left = limit < 0 ? slice_ns : limit - (monotonic_ns() - start);
        if (left <= 0)
            return unavailable();
        if (descriptor_wait(entry, left < slice_ns ? left : slice_ns) < 0)
            return -1;
        hints_due();
    }
    return 0;
}

// 0 when the original call may be made; -1 with the errno that the program is to see.
static int ready(int fd, int flags)
{
    int error = errno;
    struct descriptor *entry = descriptor_find(fd);
    enum descriptor_kind kind = entry ? atomic_load(&entry->kind) : DESCRIPTOR_UNTRACKED;
    if ((kind != DESCRIPTOR_DELAYED && kind != DESCRIPTOR_UNSEEN) || !(entry = descriptor_verify(fd)) ||
        atomic_load(&entry->kind) != DESCRIPTOR_DELAYED)
        return 0;
    if (flags & MSG_ERRQUEUE) // never waits, and there is nothing yet
        return 0;
    int result;
    if ((flags & MSG_DONTWAIT) || socket_nonblocking(fd))
        result = over(fd) ? 0 : unavailable();
    else
        result = wait_for_connect(fd, entry);
    if (result == 0)
        errno = error;
    return result;
}

ssize_t hook_read(int fd, void *data, size_t length)
{
    return ready(fd, 0) < 0 ? -1 : original_read(fd, data, length);
}

ssize_t hook_readv(int fd, const struct iovec *parts, int count)
{
    return ready(fd, 0) < 0 ? -1 : original_readv(fd, parts, count);
}

ssize_t hook_recv(int fd, void *data, size_t length, int flags)
{
    return ready(fd, flags) < 0 ? -1 : original_recv(fd, data, length, flags);
}

ssize_t hook_recvfrom(int fd, void *data, size_t length, int flags, struct sockaddr *address, socklen_t *size)
{
    return ready(fd, flags) < 0 ? -1 : original_recvfrom(fd, data, length, flags, address, size);
}

ssize_t hook_recvmsg(int fd, struct msghdr *message, int flags)
{
    if (descriptor_tracked(fd) && ready(fd, flags) < 0)
        return -1;
    ssize_t result = original_recvmsg(fd, message, flags);
    if (result >= 0)
        rights_received(message);
    return result;
}

int hook_recvmmsg(int fd, struct mmsghdr *batch, unsigned int count, int flags, struct timespec *timeout)
{
    if (descriptor_tracked(fd) && ready(fd, flags) < 0)
        return -1;
    int result = original_recvmmsg(fd, batch, count, flags, timeout);
    for (int i = 0; i < result; i++)
        rights_received(&batch[i].msg_hdr);
    return result;
}

ssize_t hook___read_chk(int fd, void *data, size_t length, size_t object_size)
{
    return ready(fd, 0) < 0 ? -1 : original___read_chk(fd, data, length, object_size);
}

ssize_t hook___recv_chk(int fd, void *data, size_t length, size_t object_size, int flags)
{
    return ready(fd, flags) < 0 ? -1 : original___recv_chk(fd, data, length, object_size, flags);
}

ssize_t hook___recvfrom_chk(int fd, void *data, size_t length, size_t object_size, int flags, struct sockaddr *address, socklen_t *size)
{
    return ready(fd, flags) < 0 ? -1 : original___recvfrom_chk(fd, data, length, object_size, flags, address, size);
}
