// Reads on a delayed connect: nothing can arrive, so a program that blocks here is told why it will wait for ever.
#define _GNU_SOURCE
#include "descriptors.h"
#include "generated/originals.h"
#include "hints.h"
#include "socket.h"

#include <errno.h>

static void explain(int fd, int flags)
{
    struct descriptor *entry = descriptor_find(fd);
    if (!entry || atomic_load(&entry->kind) != DESCRIPTOR_DELAYED)
        return;
    if (!(flags & MSG_DONTWAIT) && !socket_nonblocking(fd) && descriptor_verify(fd))
        hint_now(fd, entry);
}

ssize_t hook_read(int fd, void *data, size_t length)
{
    explain(fd, 0);
    return original_read(fd, data, length);
}

ssize_t hook_readv(int fd, const struct iovec *parts, int count)
{
    explain(fd, 0);
    return original_readv(fd, parts, count);
}

ssize_t hook_recv(int fd, void *data, size_t length, int flags)
{
    explain(fd, flags);
    return original_recv(fd, data, length, flags);
}

ssize_t hook_recvfrom(int fd, void *data, size_t length, int flags, struct sockaddr *address, socklen_t *size)
{
    explain(fd, flags);
    return original_recvfrom(fd, data, length, flags, address, size);
}

ssize_t hook_recvmsg(int fd, struct msghdr *message, int flags)
{
    explain(fd, flags);
    return original_recvmsg(fd, message, flags);
}

ssize_t hook___read_chk(int fd, void *data, size_t length, size_t object_size)
{
    explain(fd, 0);
    return original___read_chk(fd, data, length, object_size);
}

ssize_t hook___recv_chk(int fd, void *data, size_t length, size_t object_size, int flags)
{
    explain(fd, flags);
    return original___recv_chk(fd, data, length, object_size, flags);
}

ssize_t hook___recvfrom_chk(int fd, void *data, size_t length, size_t object_size, int flags, struct sockaddr *address, socklen_t *size)
{
    explain(fd, flags);
    return original___recvfrom_chk(fd, data, length, object_size, flags, address, size);
}
