/* System calls for ts/sys/libc.ts, which reaches them through the FFI. Each returns -errno on failure, because the
 * FFI makes calls of its own between ours and a look at errno. None blocks, keeps state or allocates.
 * connect and listen are the system calls themselves: in a program that libknockify.so is preloaded into, its
 * wrappers of the C library's functions would protect the socket once more, by other settings. */
#ifndef KNOCKIFY_SYS_H
#define KNOCKIFY_SYS_H

#include <node_api.h>
#include <stdint.h>

#define KNK_EXPORT __attribute__((visibility("default")))

/* 0. */
KNK_EXPORT int knk_setsockopt(int fd, int level, int name, const void *value, int length);
/* Bytes written to `value`. */
KNK_EXPORT int knk_getsockopt(int fd, int level, int name, void *value, int length);

/* 0. Blocks if the socket does and the connection is neither deferred nor immediate. */
KNK_EXPORT int knk_connect(int fd, const void *address, int length);
/* connect(AF_UNSPEC): back to an unconnected socket. 0. */
KNK_EXPORT int knk_disconnect(int fd);
KNK_EXPORT int knk_listen(int fd, int backlog);
KNK_EXPORT int knk_bind(int fd, const void *address, int length);
/* Bytes written to `address`. */
KNK_EXPORT int knk_getsockname(int fd, void *address, int length);
/* Bytes written to `address`. */
KNK_EXPORT int knk_getpeername(int fd, void *address, int length);
/* Bytes sent, without waiting and without SIGPIPE. */
KNK_EXPORT int knk_send(int fd, const void *bytes, int length);
/* Whether the socket has a filter: 0 for none, the number of instructions of a classic BPF program, -EACCES for an
 * eBPF program. */
KNK_EXPORT int knk_socket_filter(int fd);
/* Lets no packet through to the socket. */
KNK_EXPORT int knk_drop_all(int fd);
/* 1 where that is in force. */
KNK_EXPORT int knk_drops_all(int fd);
/* Bytes read without consuming them and without waiting; 0 at end of stream. */
KNK_EXPORT int knk_peek(int fd, void *bytes, int length);
KNK_EXPORT int knk_socket(int family, int type, int protocol);
KNK_EXPORT int knk_close(int fd);
/* 1, and nothing done, for a TCP socket with SO_LINGER: its last close() blocks. */
int knk_close_unless_lingering(int fd);
/* The same for whatever was handed over: 1 also for all that is no TCP socket. A file system in user space may take its
 * time, and a Unix socket takes with it what is in its queue. */
int knk_close_at_once(int fd);

/* Makes `isn` the sequence number that the next connect() of an unconnected socket starts with; 0 lets the kernel
 * choose again. Enters and leaves repair mode in one go, whatever fails, and gives SO_REUSEADDR its value back,
 * which leaving repair mode clears. */
KNK_EXPORT int knk_write_isn(int fd, uint32_t isn);
/* Reads RCV.NXT of a connected socket by way of repair mode, with the same care. */
KNK_EXPORT int knk_read_receive_sequence(int fd, uint32_t *sequence);

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

/* Makes what ts/sys reaches without the FFI properties of `exports`. In native/calls.c. */
void knk_export_calls(napi_env env, napi_value exports);

#endif
