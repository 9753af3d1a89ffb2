/* Calls on a socket that tell which of them failed: `failed`, of KNK_CALL_NAME bytes, then has the call's name. All return
 * -errno. */
#ifndef KNOCKIFY_NAMED_CALLS_H
#define KNOCKIFY_NAMED_CALLS_H

#include "bpf/layout.h"

#include <stdint.h>

enum { KNK_CALL_NAME = 40 };

/* Returns `result`. */
int knk_failing(char *failed, const char *call, int result);
int knk_get_named(char *failed, const char *call, int fd, int level, int name, void *value, int length);
int knk_set_named(char *failed, const char *call, int fd, int level, int name, uint32_t value);
/* As in tcpi_state. */
int knk_tcp_state(char *failed, int fd, uint32_t *state);

/* Of socket-storage maps. 1 with the value filled in, 0 where the socket has none. */
int knk_read_storage(char *failed, int map, int fd, void *value);
/* Zero where there is none. */
int knk_read_mark(char *failed, int map, int fd, struct knock_socket *mark);
/* `flags` as the map's update has them. */
int knk_write_mark(char *failed, int map, int fd, const struct knock_socket *mark, uint64_t flags);
int knk_erase_mark(char *failed, int map, int fd);

/* Where `fd` and `failed` are. */
#define GET(level, name, value) knk_get_named(failed, "getsockopt(" #name ")", fd, level, name, value, sizeof(*(value)))
#define SET(level, name, value) knk_set_named(failed, "setsockopt(" #name ")", fd, level, name, value)
/* Leaves the function with what a call that failed has returned. */
#define TRY(call)                 \
  do {                            \
    int tried_ = (call);          \
    if (tried_ < 0) return tried_; \
  } while (0)

#endif
