#define _GNU_SOURCE
#include "descriptors.h"

#include "generated/originals.h"
#include "inherited.h"
#include "socket.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    ENTRY_SIZE = 64,
    PAGE_ENTRIES = 64,
    PAGES = 16384, // a million descriptors; the directory is untouched memory until used
    EARLY_PAGES = 16, // what most programs get by with: memory that need not be asked for
};

union slot {
    struct descriptor entry;
    char room[ENTRY_SIZE];
};

_Atomic uint32_t descriptors_tracked_count;
_Atomic uint32_t descriptors_unsettled_count;
_Atomic uint32_t descriptors_unguarded_count;
static union slot early[EARLY_PAGES * PAGE_ENTRIES];
static union slot *_Atomic pages[PAGES];
static _Atomic unsigned int pages_used;
// The process whose memory this is. A child that shares it (vfork) finds its parent here; one with memory of its own finds
// nothing, whatever made it: for _Fork() and clone() no handler of fork() is called. In a page of its own, once there is one.
static pid_t early_owner;
static pid_t *owner = &early_owner;

static bool is_ours(void)
{
    pid_t self = getpid();
    if (*owner == 0)
        *owner = self;
    return *owner == self;
}

static struct descriptor *slot_of(unsigned int fd)
{
    if (fd >= PAGES * PAGE_ENTRIES)
        return NULL;
    union slot *page = atomic_load_explicit(&pages[fd / PAGE_ENTRIES], memory_order_acquire);
    return page ? &page[fd % PAGE_ENTRIES].entry : NULL;
}

struct descriptor *descriptor_find(int fd)
{
    struct descriptor *entry = slot_of((unsigned int)fd);
    return entry && atomic_load_explicit(&entry->kind, memory_order_acquire) != DESCRIPTOR_UNTRACKED ? entry : NULL;
}

struct descriptor *descriptor_verify(int fd)
{
    struct descriptor *entry = descriptor_find(fd);
    if (!entry)
        return NULL;
    if (atomic_load(&entry->kind) == DESCRIPTOR_UNSEEN)
        return inherited_look(fd);
    // fclose() and raw system calls close without telling us; the number may be a file's by now.
    if (socket_cookie(fd) == entry->cookie)
        return entry;
    descriptor_forget(fd);
    return NULL;
}

static bool make_page(unsigned int index)
{
    union slot *expected = NULL;
    if (index < EARLY_PAGES) {
        atomic_store(&pages[index], &early[index * PAGE_ENTRIES]);
    } else {
        void *page = mmap(NULL, PAGE_ENTRIES * ENTRY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
            return false;
        if (!atomic_compare_exchange_strong(&pages[index], &expected, (union slot *)page))
            munmap(page, PAGE_ENTRIES * ENTRY_SIZE);
    }
    unsigned int used = atomic_load(&pages_used);
    while (used < index + 1 && !atomic_compare_exchange_weak(&pages_used, &used, index + 1))
        continue;
    return true;
}

static void count(enum descriptor_kind kind, uint32_t change)
{
    if (kind != DESCRIPTOR_UNTRACKED)
        atomic_fetch_add(&descriptors_tracked_count, change);
    if (kind == DESCRIPTOR_DELAYED || kind == DESCRIPTOR_LISTENING)
        atomic_fetch_add(&descriptors_unsettled_count, change);
    if (kind == DESCRIPTOR_LISTENING)
        atomic_fetch_add(&descriptors_unguarded_count, change);
}

void descriptor_change(struct descriptor *entry, enum descriptor_kind kind)
{
    count(kind, 1);
    uint32_t before = atomic_exchange_explicit(&entry->kind, kind, memory_order_acq_rel);
    count(before, (uint32_t)-1);
    if (before == DESCRIPTOR_DELAYED && kind != DESCRIPTOR_DELAYED) {
        int error = errno;
        syscall(SYS_futex, &entry->kind, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
        errno = error;
    }
}

int descriptor_wait(struct descriptor *entry, int64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    long woken = syscall(SYS_futex, &entry->kind, FUTEX_WAIT_PRIVATE, DESCRIPTOR_DELAYED, &timeout, NULL, 0);
    return woken < 0 && errno == EINTR ? -1 : 0;
}

// The number's entry, with room made for it; NULL when it is beyond the table, or memory is out. errno is kept.
static struct descriptor *reserve(unsigned int number)
{
    if (number >= PAGES * PAGE_ENTRIES)
        return NULL;
    int error = errno;
    bool there = atomic_load_explicit(&pages[number / PAGE_ENTRIES], memory_order_acquire) || make_page(number / PAGE_ENTRIES);
    errno = error;
    return there ? slot_of(number) : NULL;
}

bool descriptor_track(int fd, const struct descriptor *state)
{
    struct descriptor *entry = reserve((unsigned int)fd);
    if (!entry)
        return false;
    descriptor_change(entry, DESCRIPTOR_UNTRACKED);
    atomic_store(&entry->gathered, state->gathered);
    atomic_store(&entry->hint_at_ns, state->hint_at_ns);
    entry->cookie = state->cookie;
    entry->backlog = state->backlog;
    entry->peer_size = state->peer_size;
    memcpy(entry->peer, state->peer, sizeof(entry->peer)); // and so an inspection
    entry->inspect = state->inspect;
    entry->reuseport = state->reuseport;
    entry->marked = state->marked;
    entry->forked = state->forked;
    descriptor_change(entry, state->kind);
    return true;
}

void descriptor_expect(int fd, bool elsewhere)
{
    struct descriptor *entry = reserve((unsigned int)fd);
    enum descriptor_kind kind = entry ? atomic_load(&entry->kind) : DESCRIPTOR_UNTRACKED;
    // A child of vfork works on its own descriptors, but on its parent's memory.
    if (!entry || (kind != DESCRIPTOR_UNTRACKED && kind != DESCRIPTOR_UNSEEN && !is_ours()))
        return;
    entry->marked = false;
    entry->forked = elsewhere;
    descriptor_change(entry, DESCRIPTOR_UNSEEN);
}

void descriptor_forget(int fd)
{
    struct descriptor *entry = slot_of((unsigned int)fd);
    if (entry)
        descriptor_change(entry, DESCRIPTOR_UNTRACKED);
}

void descriptor_unwind(int fd)
{
    struct descriptor *entry = descriptor_find(fd);
    if (entry)
        descriptor_change(entry, entry->marked ? DESCRIPTOR_MARKED : DESCRIPTOR_UNSEEN);
}

void descriptor_copy(int from, int to)
{
    struct descriptor *entry = descriptor_find(from);
    if (from == to || (!entry && !descriptor_find(to)) || !is_ours())
        return;
    if (entry)
        descriptor_track(to, entry);
    else
        descriptor_forget(to);
}

void descriptors_forget_range(unsigned int first, unsigned int last, void (*lost)(int fd, struct descriptor *entry))
{
    unsigned int end = atomic_load(&pages_used) * PAGE_ENTRIES;
    if (atomic_load_explicit(&descriptors_tracked_count, memory_order_relaxed) == 0 || first >= end || !is_ours())
        return;
    for (unsigned int fd = first; fd < end && fd <= last; fd++) {
        struct descriptor *entry = descriptor_find((int)fd);
        if (!entry)
            continue;
        lost((int)fd, entry);
        descriptor_forget((int)fd);
    }
}

void descriptors_each(void (*visit)(int fd, struct descriptor *entry, void *data), void *data)
{
    unsigned int used = atomic_load(&pages_used);
    for (unsigned int page = 0; page < used; page++)
        for (unsigned int i = 0; i < PAGE_ENTRIES && atomic_load(&pages[page]); i++) {
            int fd = (int)(page * PAGE_ENTRIES + i);
            struct descriptor *entry = descriptor_find(fd);
            if (entry)
                visit(fd, entry, data);
        }
}

struct twin_search {
    int fd;
    int first;
    uint64_t cookie;
    unsigned int found;
};

static void compare(int fd, struct descriptor *entry, void *data)
{
    struct twin_search *search = data;
    if (fd == search->fd || fd < search->first)
        return;
    bool unseen = atomic_load(&entry->kind) == DESCRIPTOR_UNSEEN;
    search->found += (unseen ? socket_cookie(fd) : entry->cookie) == search->cookie;
}

unsigned int descriptor_twins(int fd, const struct descriptor *entry, int first)
{
    struct twin_search search = {fd, first, entry->cookie, 0};
    descriptors_each(compare, &search);
    return search.found;
}

struct addition {
    uint64_t cookie;
    uint32_t count;
};

static void add(int fd, struct descriptor *entry, void *data)
{
    const struct addition *addition = data;
    (void)fd;
    if (atomic_load(&entry->kind) == DESCRIPTOR_DELAYED && entry->cookie == addition->cookie)
        atomic_fetch_add(&entry->gathered, addition->count);
}

void descriptor_gathered(const struct descriptor *entry, uint32_t count)
{
    struct addition addition = {entry->cookie, count};
    descriptors_each(add, &addition);
}

static void mark_forked(int fd, struct descriptor *entry, void *data)
{
    (void)fd;
    (void)data;
    entry->forked = true;
}

static void share(void)
{
    if (atomic_load_explicit(&descriptors_tracked_count, memory_order_relaxed) != 0)
        descriptors_each(mark_forked, NULL);
}

static void adopt(void)
{
    *owner = getpid();
}

static void find_owner(void)
{
    void *page = mmap(NULL, sizeof(pid_t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && madvise(page, sizeof(pid_t), MADV_WIPEONFORK) == 0)
        owner = page;
    adopt();
}

__attribute__((constructor)) static void start(void)
{
    originals_resolve();
    find_owner();
    inherited_adopt();
    pthread_atfork(share, NULL, adopt);
}
