/* What the kernel tells of the TCP sockets of this network namespace (NETLINK_SOCK_DIAG), by way of the FFI. */
#ifndef KNOCKIFY_DIAGNOSIS_H
#define KNOCKIFY_DIAGNOSIS_H

#include "sys.h"

#include <stdint.h>

/* The longest value of a map that there is room for. */
enum { KNK_STORAGE = 48 };

/* A socket that a map knows something of. Mirrored in ts/sys/diagnosis.ts. */
struct knk_seen {
  uint64_t cookie;
  uint32_t uid;
  /* Index of the interface that it is bound to; 0 for none. */
  uint32_t interface;
  uint32_t inode;
  uint16_t port;
  uint8_t family;
  uint8_t state;
  /* Its own, network byte order; an IPv4 address is the first 4 bytes. */
  uint8_t address[16];
  /* Bytes of the map's value. */
  uint32_t stored;
  uint8_t storage[KNK_STORAGE];
};
_Static_assert(sizeof(struct knk_seen) == 96, "mirrored in ts/sys/diagnosis.ts");

/* The sockets in `states` (a set of bits) of which the socket-storage map has a value: how many they are, and as many of
 * them as there is room for. Does not wait for anything. Needs CAP_BPF. */
KNK_EXPORT int knk_sockets(uint32_t states, int map, struct knk_seen *seen, int capacity);

/* The same, of each only the cookie. */
KNK_EXPORT int knk_socket_cookies(uint32_t states, int map, uint64_t *cookies, int capacity);

#endif
