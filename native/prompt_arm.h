/* Arming a socket for a connect that needs no decision. */
#ifndef KNOCKIFY_PROMPT_ARM_H
#define KNOCKIFY_PROMPT_ARM_H

#include "../shim/generated/messages.h"

#include <stddef.h>
#include <stdint.h>

/* Where it looks besides the socket. Mirrored in ts/sys/prompt.ts. */
struct knk_places {
  /* Socket-storage maps, netlink socket and sysctl files, as in knk_sight and knk_preparation. */
  int32_t marks;
  int32_t notes;
  int32_t links;
  int32_t timestamps_file;
  int32_t blackhole_file;
  uint32_t unused;
  /* SO_NETNS_COOKIE of the sockets that may be armed. */
  uint64_t network;
};
_Static_assert(sizeof(struct knk_places) == 32, "mirrored in ts/sys/prompt.ts");

/* The datagram, if it is a connect without an rc file; or NULL. */
const struct message_connect *knk_read_connect(const void *datagram, int length);

/* The ISN, or 0 where the socket is not armed. `begun` is set once anything was changed. */
uint32_t knk_prompt_arm(const struct knk_places *places, const uint32_t *secret, const struct message_connect *message,
                        int fd, int32_t *begun);

#endif
