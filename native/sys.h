/* System calls for ts/sys/libc.ts, which reaches those on sockets by way of native/calls.c, and the others through the FFI.
 * Each returns -errno on failure, because the FFI makes calls of its own between ours and a look at errno. None keeps state or
 * allocates, and none blocks, but for a socket whose lock somebody else holds.
 * connect and listen are the system calls themselves: in a program that libknockify.so is preloaded into, its
 * wrappers of the C library's functions would protect the socket once more, by other settings. */
#ifndef KNOCKIFY_SYS_H
#define KNOCKIFY_SYS_H

#include <stdint.h>

#define KNK_EXPORT __attribute__((visibility("default")))

/* 0. */
int knk_setsockopt(int fd, int level, int name, const void *value, int length);
/* Bytes written to `value`. */
int knk_getsockopt(int fd, int level, int name, void *value, int length);

/* 0. Blocks if the socket does and the connection is neither deferred nor immediate. */
int knk_connect(int fd, const void *address, int length);
/* connect(AF_UNSPEC): back to an unconnected socket. 0. */
int knk_disconnect(int fd);
int knk_listen(int fd, int backlog);
int knk_bind(int fd, const void *address, int length);
/* Bytes written to `address`. */
int knk_getsockname(int fd, void *address, int length);
/* Bytes written to `address`. */
int knk_getpeername(int fd, void *address, int length);
/* Bytes sent, without waiting and without SIGPIPE. */
int knk_send(int fd, const void *bytes, int length);
/* Whether the socket has a filter: 0 for none, the number of instructions of a classic BPF program, -EACCES for an
 * eBPF program. */
int knk_socket_filter(int fd);
/* Lets no packet through to the socket. */
int knk_drop_all(int fd);
/* 1 where that is in force. */
int knk_drops_all(int fd);
/* Bytes read without consuming them and without waiting; 0 at end of stream. */
int knk_peek(int fd, void *bytes, int length);
int knk_socket(int family, int type, int protocol);
/* Of what was not handed over, or is known to be a TCP socket. */
/* CLOCK_MONOTONIC in milliseconds; a tick of the kernel's is exact enough. */
int64_t knk_coarse_now(void);
int knk_close(int fd);
/* 1, and nothing done, for a TCP socket with SO_LINGER: its last close() blocks. */
int knk_close_unless_lingering(int fd);

/* Makes `isn` the sequence number that the next connect() of an unconnected socket starts with; 0 lets the kernel
 * choose again. Enters and leaves repair mode in one go, whatever fails, and gives SO_REUSEADDR its value back,
 * which leaving repair mode clears. */
int knk_write_isn(int fd, uint32_t isn);
/* Reads RCV.NXT of a connected socket by way of repair mode, with the same care. */
int knk_read_receive_sequence(int fd, uint32_t *sequence);

/* Takes (LOCK_SH) or upgrades to (LOCK_EX) an advisory lock on the file, without waiting. */
KNK_EXPORT int knk_flock(int fd, int operation);

enum knk_link_change {
  /* An interface appeared or changed. */
  KNK_LINK_SEEN = 0,
  /* An interface, or a queueing discipline or filter on it, went away. */
  KNK_LINK_LOST = 1,
};

struct knk_link_event {
  uint32_t index;
  uint32_t change;
};

/* A netlink socket that hears of interfaces and of their filters. */
KNK_EXPORT int knk_links_open(void);
/* Fills in up to `capacity` events in order and returns their number; 0 when there are none, -ENOBUFS when some
 * were lost and everything must be looked at again. Call until it returns 0. */
KNK_EXPORT int knk_links_drain(int fd, struct knk_link_event *events, int capacity);
/* Indices of all interfaces; returns their number, which may be more than `capacity`. */
KNK_EXPORT int knk_interfaces(uint32_t *indices, int capacity);
/* Number of filters on both sides of an interface's clsact qdisc. */
KNK_EXPORT int knk_count_filters(uint32_t index);

/* Makes calls on the open file return where they would wait, for all who share it. */
KNK_EXPORT int knk_unblock(int fd);
/* No core dumps, no reading of this process's memory by others of its user, no new privileges by execve(). */
KNK_EXPORT int knk_harden(void);
/* Tells a service manager of `state` (sd_notify(3)): a datagram to the Unix socket at `path`, '@' first if it is an
 * abstract one, with up to 16 descriptors for it to store. */
KNK_EXPORT int knk_notify(const char *path, const void *state, int length, const int32_t *descriptors, int count);

#endif
