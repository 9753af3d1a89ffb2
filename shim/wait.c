// Waiting calls while a connect of this process is delayed. The kernel reports such a socket rightly by itself
// (writable, not readable); what is added is the explanation when nothing happens. And a program that waits for a listener
// means to accept: it has its guard by then.
#define _GNU_SOURCE
#include "activation.h"
#include "descriptors.h"
#include "generated/originals.h"
#include "hints.h"
#include "memory.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

static const int64_t second_ns = 1000000000;

static int64_t from_timespec(const struct timespec *timeout)
{
    if (!timeout || timeout->tv_sec > INT64_MAX / second_ns - 1)
        return -1;
    return (int64_t)timeout->tv_sec * second_ns + timeout->tv_nsec;
}

static int64_t from_timeval(struct timeval timeout)
{
    static const int64_t for_ever = INT64_MAX / 4;
    return timeout.tv_sec > for_ever / second_ns ? for_ever : timeout.tv_sec * second_ns + timeout.tv_usec * 1000;
}

// False where it cannot be read, or makes no sense.
static bool read_timeout(struct timespec *own, const struct timespec *timeout)
{
    if (!timeout)
        return true;
    return memory_read(own, timeout, sizeof(*own)) && own->tv_sec >= 0 && own->tv_nsec >= 0 && own->tv_nsec < second_ns;
}

static struct timespec to_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / second_ns, .tv_nsec = ns % second_ns};
}

static int64_t from_ms(int timeout)
{
    return timeout < 0 ? -1 : (int64_t)timeout * 1000000;
}

// Runs `once` until it has something to say or the time (-1: none) is over, in slices that end when a hint is due.
static int wait_in_slices(int64_t timeout_ns, int (*once)(void *call, int64_t slice_ns), void *call)
{
    int64_t start = monotonic_ns(), left = timeout_ns;
    for (;;) {
        int64_t due = hints_due();
        int64_t slice = due >= 0 && (left < 0 || due < left) ? due : left;
        int result = once(call, slice);
        if (result != 0 || slice == left)
            return result;
        if (timeout_ns >= 0) {
            int64_t elapsed = monotonic_ns() - start;
            left = elapsed < timeout_ns ? timeout_ns - elapsed : 0;
        }
    }
}

// Arming disconnects the socket for a moment before the real connect, and a poll in another thread sees that as the end
// of the connection. It is over at once; look again.
enum { LOOKS = 100 };
static const struct timespec moment = {.tv_nsec = 1000000};

static bool is(int fd, enum descriptor_kind kind)
{
    struct descriptor *entry = descriptor_find(fd);
    return entry && atomic_load(&entry->kind) == kind;
}

static void settle(int fd)
{
    if (is(fd, DESCRIPTOR_LISTENING))
        activation_settled(fd); // if not, accept says so
}

struct poll_call {
    struct pollfd *entries;
    nfds_t count;
    const sigset_t *mask;
};

static bool disturbed(const struct poll_call *poll)
{
    for (nfds_t i = 0; i < poll->count; i++)
        if ((poll->entries[i].revents & (POLLHUP | POLLERR)) && is(poll->entries[i].fd, DESCRIPTOR_DELAYED))
            return true;
    return false;
}

static int poll_once(void *call, int64_t slice_ns)
{
    struct poll_call *poll = call;
    int result = 0;
    for (int look = 0; look < LOOKS; look++) {
        struct timespec timeout = to_timespec(slice_ns);
        result = original_ppoll(poll->entries, poll->count, slice_ns < 0 ? NULL : &timeout, poll->mask);
        if (result <= 0 || !disturbed(poll))
            break;
        nanosleep(&moment, NULL);
    }
    return result;
}

// False when they cannot be read. Without a listener to settle nobody needs to: that is a system call for each 128.
static bool settle_polled(const struct pollfd *entries, nfds_t count)
{
    enum { AT_ONCE = 128 };
    struct pollfd some[AT_ONCE];
    for (nfds_t done = 0; done < count && descriptors_unguarded(); done += AT_ONCE) {
        nfds_t length = count - done < AT_ONCE ? count - done : AT_ONCE;
        if (!memory_read(some, entries + done, length * sizeof(*some)))
            return false;
        for (nfds_t i = 0; i < length; i++)
            settle(some[i].fd);
    }
    return true;
}

int hook_poll(struct pollfd *entries, nfds_t count, int timeout)
{
    struct poll_call call = {entries, count, NULL};
    return settle_polled(entries, count) ? wait_in_slices(from_ms(timeout), poll_once, &call) : original_poll(entries, count, timeout);
}

int hook_ppoll(struct pollfd *entries, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    struct timespec limit;
    if (!read_timeout(&limit, timeout) || !settle_polled(entries, count))
        return original_ppoll(entries, count, timeout, mask);
    struct poll_call call = {entries, count, mask};
    return wait_in_slices(from_timespec(timeout ? &limit : NULL), poll_once, &call);
}

int hook___poll_chk(struct pollfd *entries, nfds_t count, int timeout, size_t object_size)
{
    return object_size / sizeof(*entries) < count ? original___poll_chk(entries, count, timeout, object_size)
                                                  : hook_poll(entries, count, timeout);
}

int hook___ppoll_chk(struct pollfd *entries, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t object_size)
{
    return object_size / sizeof(*entries) < count ? original___ppoll_chk(entries, count, timeout, mask, object_size)
                                                  : hook_ppoll(entries, count, timeout, mask);
}

struct epoll_call {
    int fd;
    struct epoll_event *events;
    int max_events;
    const sigset_t *mask;
};

static int epoll_once(void *call, int64_t slice_ns)
{
    struct epoll_call *epoll = call;
    int64_t ms = slice_ns < 0 ? -1 : (slice_ns + 999999) / 1000000;
    return original_epoll_pwait(epoll->fd, epoll->events, epoll->max_events, ms > INT_MAX ? INT_MAX : (int)ms, epoll->mask);
}

int hook_epoll_wait(int fd, struct epoll_event *events, int max_events, int timeout)
{
    struct epoll_call call = {fd, events, max_events, NULL};
    return wait_in_slices(from_ms(timeout), epoll_once, &call);
}

int hook_epoll_pwait(int fd, struct epoll_event *events, int max_events, int timeout, const sigset_t *mask)
{
    struct epoll_call call = {fd, events, max_events, mask};
    return wait_in_slices(from_ms(timeout), epoll_once, &call);
}

int hook_epoll_pwait2(int fd, struct epoll_event *events, int max_events, const struct timespec *timeout, const sigset_t *mask)
{
    struct timespec limit;
    if (!read_timeout(&limit, timeout))
        return original_epoll_pwait2(fd, events, max_events, timeout, mask);
    struct epoll_call call = {fd, events, max_events, mask};
    return wait_in_slices(from_timespec(timeout ? &limit : NULL), epoll_once, &call);
}

int hook_epoll_ctl(int waiting, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_DEL)
        settle(fd);
    return original_epoll_ctl(waiting, operation, fd, event);
}

// A select that times out clears its sets; each slice needs them anew.
struct select_call {
    int count;
    fd_set *sets[3];
    size_t size;
    char *saved; // three copies, one behind the other
    const sigset_t *mask;
};

// A delayed connect is never readable.
static bool interrupted(const struct select_call *select)
{
    for (int fd = 0; select->sets[0] && fd < select->count; fd++)
        if (FD_ISSET(fd, select->sets[0]) && is(fd, DESCRIPTOR_DELAYED))
            return true;
    return false;
}

static int select_once(void *call, int64_t slice_ns)
{
    struct select_call *select = call;
    int result = 0;
    for (int look = 0; look < LOOKS; look++) {
        struct timespec timeout = to_timespec(slice_ns);
        for (int i = 0; i < 3; i++)
            if (select->sets[i])
                memcpy(select->sets[i], select->saved + i * select->size, select->size);
        result = original_pselect(select->count, select->sets[0], select->sets[1], select->sets[2],
                                  slice_ns < 0 ? NULL : &timeout, select->mask);
        if (result <= 0 || !interrupted(select))
            break;
        nanosleep(&moment, NULL);
    }
    return result;
}

// False where the sets cannot be read.
static bool select_begin(struct select_call *call)
{
    for (int i = 0; i < 3; i++)
        if (call->sets[i] && !memory_read(call->saved + i * call->size, call->sets[i], call->size))
            return false;
    for (int fd = 0; call->sets[0] && descriptors_unguarded() && fd < call->count; fd++)
        if (FD_ISSET(fd, (const fd_set *)call->saved))
            settle(fd);
    return true;
}

int hook_pselect(int count, fd_set *readable, fd_set *writable, fd_set *exceptional, const struct timespec *timeout, const sigset_t *mask)
{
    struct timespec limit;
    size_t size = ((size_t)(count > 0 ? count : 0) + NFDBITS - 1) / NFDBITS * sizeof(fd_mask);
    if (count < 0 || count > FD_SETSIZE || !read_timeout(&limit, timeout))
        return original_pselect(count, readable, writable, exceptional, timeout, mask);
    char saved[3 * size + 1];
    struct select_call call = {count, {readable, writable, exceptional}, size, saved, mask};
    if (!select_begin(&call))
        return original_pselect(count, readable, writable, exceptional, timeout, mask);
    return wait_in_slices(from_timespec(timeout ? &limit : NULL), select_once, &call);
}

int hook_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional, struct timeval *timeout)
{
    struct timeval limit;
    if (count < 0 || count > FD_SETSIZE || (timeout && (!memory_read(&limit, timeout, sizeof(limit)) || limit.tv_sec < 0 || limit.tv_usec < 0)))
        return original_select(count, readable, writable, exceptional, timeout);
    int64_t start = monotonic_ns(), limit_ns = timeout ? from_timeval(limit) : 0;
    struct timespec exact = to_timespec(limit_ns);
    int result = hook_pselect(count, readable, writable, exceptional, timeout ? &exact : NULL, NULL);
    if (timeout) { // Linux leaves the time that was not slept
        int64_t left = limit_ns - (monotonic_ns() - start);
        limit = (struct timeval){.tv_sec = left > 0 ? left / second_ns : 0, .tv_usec = left > 0 ? left % second_ns / 1000 : 0};
        memory_write(timeout, &limit, sizeof(limit));
    }
    return result;
}
