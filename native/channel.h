/* Receiving on SOCK_SEQPACKET Unix sockets, without waiting. */
#ifndef KNOCKIFY_CHANNEL_H
#define KNOCKIFY_CHANNEL_H

#include <stddef.h>
#include <sys/socket.h>

/* SCM_MAX_FD: what finds no room, the kernel would close at once, which may take long. */
enum { KNK_MOST_DESCRIPTORS = 253 };

struct ucred;

/* A non-blocking descriptor, and who connected; or -errno. */
int knk_accept(int listener, struct ucred *identity);

struct knk_datagram {
  void *data;
  size_t room;
  int descriptors[KNK_MOST_DESCRIPTORS];
  int count;
};

/* Bytes of the datagram, 0 at the end, or -errno; -EMSGSIZE for a datagram that was cut. The descriptors are
 * the caller's then, too. -EDQUOT, and nothing received, from a user of whose descriptors too many are not closed yet. */
int knk_receive(int fd, struct knk_datagram *datagram);
/* Closes a connection. 1 where something was sent on it that nobody has received: that has to be done first, or closing would
 * have to wait for a socket in it that lingers. No more can be sent then. */
int knk_hang_up(int fd);

#endif
