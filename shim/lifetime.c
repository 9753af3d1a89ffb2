// Calls that make, copy or end descriptors.
#define _GNU_SOURCE
#include "delayed.h"
#include "descriptors.h"
#include "generated/originals.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#endif

// The bytes are gone with the last descriptor of the socket. Whether another process still has it nobody can tell.
static void say_lost(int fd, struct descriptor *entry, int first_twin)
{
    enum descriptor_kind kind = atomic_load(&entry->kind);
    if ((kind != DESCRIPTOR_DELAYED && kind != DESCRIPTOR_CONNECTING) || delayed_find(fd) != entry)
        return;
    uint32_t gathered = delayed_gathered(fd, entry);
    if (gathered > 0 && descriptor_twins(fd, entry, first_twin) == 0)
        log_line(entry->forked ? LOG_NOTICES : LOG_ERRORS,
                 "descriptor %d was closed with %u bytes that were never sent: its connect waited for KNOCK_INTLEN bytes", fd, gathered);
}

static void lost(int fd, struct descriptor *entry)
{
    say_lost(fd, entry, 0);
}

static void drop(int fd)
{
    descriptors_forget_range((unsigned int)fd, (unsigned int)fd, lost);
}

static void ignore(int fd, struct descriptor *entry)
{
    (void)fd;
    (void)entry;
}

static void drop_silently(int fd)
{
    descriptors_forget_range((unsigned int)fd, (unsigned int)fd, ignore);
}

static int fresh(int fd)
{
    if (fd >= 0 && descriptor_tracked(fd))
        drop_silently(fd);
    return fd;
}

enum { TYPE_MASK = 0xf }; // SOCK_TYPE_MASK of the kernel: the rest are flags

int hook_socket(int domain, int type, int protocol)
{
    int fd = original_socket(domain, type, protocol);
    log_descriptor_replaced(fd, false);
    if (fd < 0 || (domain != AF_INET && domain != AF_INET6) || (type & TYPE_MASK) != SOCK_STREAM)
        return fresh(fd);
    descriptor_expect(fd, false);
    return fd;
}

int hook_close(int fd)
{
    drop(fd);
    return original_close(fd);
}

int hook_close_range(unsigned int first, unsigned int last, int flags)
{
    // Flags that the kernel does not know make the call fail, and close nothing.
    if (!((unsigned int)flags & ~(unsigned int)CLOSE_RANGE_UNSHARE))
        descriptors_forget_range(first, last, lost);
    return original_close_range(first, last, flags);
}

void hook_closefrom(int first)
{
    descriptors_forget_range(first < 0 ? 0 : (unsigned int)first, UINT_MAX, lost);
    original_closefrom(first);
}

static int copied(int from, int to)
{
    if (to >= 0)
        descriptor_copy(from, to);
    return to;
}

// To a number that the program named.
static int moved(int from, int to)
{
    log_descriptor_replaced(to, true);
    return copied(from, to);
}

int hook_dup(int fd)
{
    return copied(fd, original_dup(fd));
}

int hook_dup2(int fd, int target)
{
    return moved(fd, original_dup2(fd, target));
}

int hook_dup3(int fd, int target, int flags)
{
    return moved(fd, original_dup3(fd, target, flags));
}

int hook_fcntl(int fd, int command, long word)
{
    int result = original_fcntl(fd, command, word);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}

static void report_lost(int fd, struct descriptor *entry, void *data)
{
    (void)data;
    say_lost(fd, entry, fd + 1); // of all copies, the last one says it
}

__attribute__((destructor)) static void end(void)
{
    if (descriptors_unsettled())
        descriptors_each(report_lost, NULL);
}
