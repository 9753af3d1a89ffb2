#define _GNU_SOURCE
#include "rights.h"

#include "descriptors.h"

#include <string.h>

static void each(const struct msghdr *message, void (*visit)(int fd))
{
    struct msghdr walked = *message;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&walked); part; part = CMSG_NXTHDR(&walked, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        const unsigned char *next = CMSG_DATA(part), *end = (const unsigned char *)part + part->cmsg_len;
        for (int fd; next + sizeof(fd) <= end; next += sizeof(fd)) {
            memcpy(&fd, next, sizeof(fd));
            visit(fd);
        }
    }
}

static void share(int fd)
{
    struct descriptor *entry = descriptor_find(fd);
    if (entry)
        entry->forked = true;
}

void rights_sent(const struct msghdr *message)
{
    if (message->msg_controllen > 0 && atomic_load_explicit(&descriptors_tracked_count, memory_order_relaxed) != 0)
        each(message, share);
}

static void expect(int fd)
{
    descriptor_expect(fd, true);
}

void rights_received(const struct msghdr *message)
{
    if (message->msg_controllen > 0)
        each(message, expect);
}
