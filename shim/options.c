// What a program sees and may change of a socket that stealth has changed.
#define _GNU_SOURCE
#include "activation.h"
#include "control.h"
#include "delayed.h"
#include "descriptors.h"
#include "generated/originals.h"
#include "inspection.h"
#include "log.h"
#include "memory.h"
#include "socket.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

static enum descriptor_kind kind_of(int fd, struct descriptor **entry)
{
    *entry = descriptor_verify(fd);
    return *entry ? atomic_load(&(*entry)->kind) : DESCRIPTOR_UNTRACKED;
}

// What we set and the program did not, as the program would see it without us; -1 for all else.
static int own_value(int fd, int level, int option)
{
    struct descriptor *entry;
    bool group = level == SOL_SOCKET && option == SO_REUSEPORT;
    bool fast_open = level == IPPROTO_TCP && (option == TCP_FASTOPEN_CONNECT || option == TCP_FASTOPEN_NO_COOKIE);
    enum descriptor_kind kind = group || fast_open ? kind_of(fd, &entry) : DESCRIPTOR_UNTRACKED;
    if (kind == DESCRIPTOR_GUARDED && group)
        return entry->reuseport;
    return kind == DESCRIPTOR_DELAYED && fast_open ? 0 : -1;
}

int hook_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    int result = original_getsockopt(fd, level, option, value, length);
    int own = result == 0 && *length == sizeof(int) ? own_value(fd, level, option) : -1;
    if (own >= 0)
        memcpy(value, &own, sizeof(own));
    return result;
}

// The options of the Knock patch (thesis section 6.2). On a stock kernel 26 can't be set, 27 is TCP_SAVE_SYN and 28 can
// only be read: they keep that meaning on a socket where the program has not set 26.
enum { TCP_STEALTH = 26, TCP_STEALTH_INTEGRITY = 27, TCP_STEALTH_INTEGRITY_LEN = 28 };

static int mainline_option(int fd, int option, const void *value, socklen_t length)
{
    int result = original_setsockopt(fd, IPPROTO_TCP, option, value, length);
    if (result < 0 && errno == (option == TCP_STEALTH_INTEGRITY ? EINVAL : ENOPROTOOPT))
        errno = EOPNOTSUPP;
    return result;
}

static bool mark(int fd)
{
    struct descriptor *entry = descriptor_verify(fd);
    struct descriptor state = {.kind = DESCRIPTOR_MARKED, .cookie = socket_cookie(fd), .marked = true};
    if (!entry)
        return descriptor_track(fd, &state);
    entry->marked = true;
    return true;
}

static int stealth_option(int fd, int option, const void *value, socklen_t length)
{
    int entry_errno = errno;
    struct descriptor *entry = descriptor_verify(fd);
    uint8_t copy[MAX_OPTION_VALUE];
    if (!value || !socket_is_tcp(fd) || (option != TCP_STEALTH && !(entry && entry->marked)))
        return mainline_option(fd, option, value, length);
    if (!memory_read(copy, value, length < sizeof(copy) ? length : sizeof(copy)))
        return -1;
    struct session session;
    struct verdict verdict;
    if (!control_option(&session, fd, option, copy, length, &verdict))
        return control_failed();
    control_close(&session);
    if (verdict.head.action != ACTION_DONE)
        return verdict_refuse(&verdict);
    if (option == TCP_STEALTH && !mark(fd)) {
        log_line(LOG_ERRORS, "setsockopt: descriptor %d is beyond the million that can be tracked", fd);
        return control_failed();
    }
    // A listener that checks its connections' first segment from now on, or no longer.
    entry = descriptor_find(fd);
    if (entry && atomic_load(&entry->kind) == DESCRIPTOR_GUARDED)
        inspection_expect(entry, &verdict);
    errno = entry_errno;
    return 0;
}

// Options by which a guard could be lifted.
static bool touches_guard(int level, int option)
{
    return level == SOL_SOCKET && (option == SO_REUSEPORT || option == SO_ATTACH_REUSEPORT_CBPF ||
                                   option == SO_ATTACH_REUSEPORT_EBPF || option == SO_DETACH_REUSEPORT_BPF);
}

int hook_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    struct descriptor *entry;
    if (level == IPPROTO_TCP && option >= TCP_STEALTH && option <= TCP_STEALTH_INTEGRITY_LEN)
        return stealth_option(fd, option, value, length);
    if (!touches_guard(level, option) || !descriptor_tracked(fd))
        return original_setsockopt(fd, level, option, value, length);
    // Of a listener that came with the program, or by another way than listen(), it is not known yet that it has a guard.
    if (kind_of(fd, &entry) == DESCRIPTOR_LISTENING && !activation_settled(fd)) {
        errno = EPROTONOSUPPORT;
        return -1;
    }
    if (kind_of(fd, &entry) != DESCRIPTOR_GUARDED)
        return original_setsockopt(fd, level, option, value, length);
    if (option != SO_REUSEPORT) {
        log_line(LOG_ERRORS, "setsockopt: descriptor %d keeps its guard; a reuseport program of the application's own would replace it", fd);
        errno = EPROTONOSUPPORT;
        return -1;
    }
    if (!value || length < sizeof(int))
        return original_setsockopt(fd, level, option, value, length);
    int own;
    if (!memory_read(&own, value, sizeof(own)))
        return -1;
    entry->reuseport = own != 0;
    return 0;
}

int hook_getpeername(int fd, struct sockaddr *address, socklen_t *size)
{
    struct descriptor *entry;
    enum descriptor_kind kind = kind_of(fd, &entry);
    if (kind != DESCRIPTOR_DELAYED || !delayed_peer(fd, entry))
        return original_getpeername(fd, address, size);
    socklen_t room;
    if (!memory_read(&room, size, sizeof(room)))
        return -1;
    if ((int)room < 0) {
        errno = EINVAL;
        return -1;
    }
    bool written = memory_write(address, entry->peer, room < entry->peer_size ? room : entry->peer_size) &&
                   memory_write(size, &entry->peer_size, sizeof(entry->peer_size));
    return written ? 0 : -1;
}

int hook_shutdown(int fd, int how)
{
    struct descriptor *entry;
    enum descriptor_kind kind = kind_of(fd, &entry);
    bool pending = kind == DESCRIPTOR_DELAYED || kind == DESCRIPTOR_CONNECTING;
    uint32_t gathered = pending && how != SHUT_RD ? delayed_gathered(fd, entry) : 0;
    if (gathered == 0) {
        int result = original_shutdown(fd, how);
        // The kernel has given the connect up, and who waits for it need not any more.
        if (result == 0 && kind == DESCRIPTOR_DELAYED && how != SHUT_RD)
            descriptor_unwind(fd);
        return result;
    }
    log_line(LOG_ERRORS, "shutdown: %u bytes of descriptor %d are not sent yet: its connect waits for KNOCK_INTLEN bytes", gathered, fd);
    errno = EPROTONOSUPPORT;
    return -1;
}
