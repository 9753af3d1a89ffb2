// Sockets that a program before us left behind: exec keeps the descriptors and forgets the table.
#define _GNU_SOURCE
#include "activation.h"
#include "descriptors.h"
#include "generated/originals.h"
#include "hints.h"
#include "inherited.h"
#include "socket.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

struct directory_entry { // struct linux_dirent64, which no header has
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

// TCP_INFO answers for TCP sockets alone, Multipath TCP among them.
struct descriptor *inherited_look(int fd)
{
    struct descriptor *entry = descriptor_find(fd);
    struct descriptor state = {.forked = entry && entry->forked};
    enum tcp_state tcp = socket_state(fd);
    if (tcp == STATE_CLOSE)
        return NULL;
    if (tcp == STATE_LISTEN) {
        state.kind = DESCRIPTOR_LISTENING;
        state.backlog = socket_backlog(fd);
    } else if (tcp == STATE_SYN_SENT && socket_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0) != 0) {
        state.kind = DESCRIPTOR_DELAYED;
        state.hint_at_ns = hint_time();
    } else {
        descriptor_forget(fd);
        return NULL;
    }
    state.cookie = socket_cookie(fd);
    if (!descriptor_track(fd, &state))
        return NULL;
    if (state.hint_at_ns)
        hints_schedule(state.hint_at_ns);
    return descriptor_find(fd);
}

static void adopt(int fd)
{
    descriptor_expect(fd, true);
    inherited_look(fd);
}

// No descriptor has this number or a higher one; 0 where that is not plain to see. select(2) heeds no bit beyond the kernel's
// table of descriptors, and fails for one in it that is not open.
static int end_of_table(void)
{
    static const int sizes[] = {64, 128, 256}; // the kernel's own first ones
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct timeval at_once = {0};
        fd_set set;
        FD_ZERO(&set);
        FD_SET(sizes[i], &set);
        bool beyond = original_select(sizes[i] + 1, &set, NULL, NULL, &at_once) == 0;
        if (beyond && original_fcntl(sizes[i], F_GETFD, 0) < 0)
            return sizes[i];
    }
    return 0;
}

static void adopt_listed(void)
{
    char buffer[2048];
    long length;
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return;
    while ((length = syscall(SYS_getdents64, directory, buffer, sizeof(buffer))) > 0)
        for (long at = 0; at < length;) {
            struct directory_entry *entry = (struct directory_entry *)(buffer + at);
            char *end;
            long fd = strtol(entry->name, &end, 10);
            if (end != entry->name && fd != directory)
                adopt((int)fd);
            at += entry->length;
        }
    original_close(directory);
}

void inherited_adopt(void)
{
    // The kernel takes longer to list a program's descriptors than all else takes that is to be done at its start.
    int end = end_of_table();
    for (int fd = 0; fd < end; fd++)
        if (socket_state(fd) != 0)
            adopt(fd);
    if (end == 0)
        adopt_listed();
    activation_begin();
}
