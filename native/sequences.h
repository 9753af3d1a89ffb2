/* The system calls of a stealth connect, in the order that the engine wants them and as many in one go as can be:
 * with a call into C for each of them, getting there would take longer than they do. What they are for is decided in
 * ts/engine; what they mean is in ts/sys/sequences.ts, which mirrors the structs.
 *
 * Each returns 0, or one of the positive numbers named, or -errno with the call's name in `failed`. None blocks. */
#ifndef KNOCKIFY_SEQUENCES_H
#define KNOCKIFY_SEQUENCES_H

#include "deferral.h"

#include <stdbool.h>
#include <stdint.h>

/* `marks` and `notes` are descriptors of socket-storage maps throughout. */

/* What the kernel knows of a socket. */
struct knk_sight {
  char failed[KNK_CALL_NAME];
  int32_t marks;
  int32_t notes;
  /* Out. The domain is -1 for what is no socket; what comes behind the type is filled in for plain TCP alone. */
  int32_t domain;
  int32_t protocol;
  int32_t type;
  /* tcpi_state. */
  uint32_t state;
  /* SO_NETNS_COOKIE. */
  uint64_t network;
  /* Zero where there is none. */
  struct knock_socket mark;
  uint32_t noted;
};
_Static_assert(sizeof(struct knk_sight) == 120, "mirrored in ts/sys/sequences.ts");

int knk_look(int fd, struct knk_sight *sight);
/* Whether this is an unconnected plain TCP socket of the network, without a note. Of its mark it says nothing. */
bool knk_is_unconnected(int fd, uint64_t network, int notes);

/* And KNK_NOT_DELAYED, with the socket on hold. */
enum knk_unprepared {
  /* Neither unconnected nor deferred: `state` and `held` tell. Nothing was done. */
  KNK_UNFIT = 1,
  /* Something is to be read from `links` first. Nothing was done. */
  KNK_LINKS_CHANGED = 2,
  /* `blackhole` is not 0: the kernel may send the SYN. The socket is on hold. */
  KNK_BLACKHOLE = 3,
};

/* Puts an unconnected socket on hold, defers its connect, and learns what the SYN will carry. Of one that is deferred
 * already, learns only that. */
struct knk_preparation {
  char failed[KNK_CALL_NAME];
  int32_t marks;
  /* Netlink socket; open sysctl files. */
  int32_t links;
  int32_t timestamps_file;
  int32_t blackhole_file;
  uint32_t peer_size;
  uint8_t peer[KNK_SOCKADDR];
  /* Out. */
  uint32_t state;
  struct knock_socket held;
  /* The kernel's, whether or not the SYN will carry it: that is what net.ipv4.tcp_timestamps tells. */
  uint32_t tsval;
  uint32_t timestamps;
  uint32_t blackhole;
  uint32_t source_size;
  uint8_t source[KNK_SOCKADDR];
};
_Static_assert(sizeof(struct knk_preparation) == 180, "mirrored in ts/sys/sequences.ts");

int knk_prepare(int fd, struct knk_preparation *preparation);
/* The same for a socket that is known to be unconnected; KNK_UNFIT for one that has a mark. */
int knk_prepare_fresh(int fd, struct knk_preparation *preparation);

/* Ends the deferral and makes the next connect() start with mark.isn from the port of `source`. Only at the end the
 * mark is written. */
struct knk_arming {
  char failed[KNK_CALL_NAME];
  int32_t marks;
  uint32_t source_size;
  uint8_t source[KNK_SOCKADDR];
  struct knock_socket mark;
};
_Static_assert(sizeof(struct knk_arming) == 120, "mirrored in ts/sys/sequences.ts");

int knk_arm(int fd, struct knk_arming *arming);

/* Takes back what arming changed beyond the token, once the connect is made: the pinned port. Changes nothing of a
 * socket that is not armed, or with another ISN than this (0: any). */
struct knk_settlement {
  char failed[KNK_CALL_NAME];
  int32_t marks;
  uint32_t isn;
  /* Out. The state only of a socket that is armed so, and of whose SYN no filter knows. */
  uint32_t state;
  struct knock_socket mark;
};
_Static_assert(sizeof(struct knk_settlement) == 96, "mirrored in ts/sys/sequences.ts");

int knk_settle(int fd, struct knk_settlement *settlement);

/* Takes a socket that was deferred or armed back to fresh: no port, no token, no repair mode. Resets a connection whose SYN
 * left without its token. Until all of that is done the socket is on hold. Without effect on any other socket. */
struct knk_return {
  char failed[KNK_CALL_NAME];
  int32_t marks;
};
_Static_assert(sizeof(struct knk_return) == 44, "mirrored in ts/sys/sequences.ts");

/* The socket is in repair mode all the same, and on hold. */
enum { KNK_STILL_IN_REPAIR = 1 };

int knk_take_back(int fd, struct knk_return *taking);

/* Makes the port of `source` that of the next connect(); knk_bind_port is for kernels before 6.3. */
int knk_pin_port(int fd, struct knk_arming *arming);
int knk_bind_port(int fd, struct knk_arming *arming);

#endif
