// Sends on a delayed connect: the control process gathers the protected bytes; with the last of them the real connect is
// made, and everything leaves in one segment.
#ifndef KNOCKIFY_DELAYED_H
#define KNOCKIFY_DELAYED_H

#include "descriptors.h"

#include <sys/socket.h>

// The entry of a descriptor whose connect is delayed, or under way with gathered bytes still to be sent; else NULL.
struct descriptor *delayed_find(int fd);

// Bytes that were taken for such a descriptor and have not left, so far as this process can know. errno is kept.
uint32_t delayed_gathered(int fd, struct descriptor *entry);

// Where a delayed descriptor is to be connected to: entry->peer, which may have to be asked for. False if nobody knows.
bool delayed_peer(int fd, struct descriptor *entry);

// Takes `message` over for such a descriptor, as sendmsg(2). The struct is the caller's; what it points to is the program's
// and may be bad. At most IOV_MAX parts.
ssize_t delayed_send(int fd, struct descriptor *entry, const struct msghdr *message, int flags);

#endif
