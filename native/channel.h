/* Receiving on SOCK_SEQPACKET Unix sockets, without waiting. */
#ifndef KNOCKIFY_CHANNEL_H
#define KNOCKIFY_CHANNEL_H

#include <stddef.h>
#include <sys/socket.h>

enum { KNK_MOST_DESCRIPTORS = 4 };

struct ucred;

/* A non-blocking descriptor, and who connected; or -errno. */
int knk_accept(int listener, struct ucred *identity);

struct knk_datagram {
  void *data;
  size_t room;
  int descriptors[KNK_MOST_DESCRIPTORS];
  int count;
};

/* Bytes of the datagram, 0 at the end, or -errno. A datagram that was cut, or that brought more descriptors than fit,
 * is -EMSGSIZE and dropped whole. */
int knk_receive(int fd, struct knk_datagram *datagram);

#endif
