// Sends on a delayed connect: the control process gathers the protected bytes; with the last of them the real connect is
// made, and everything leaves in one segment.
#ifndef KNOCKIFY_DELAYED_H
#define KNOCKIFY_DELAYED_H

#include "descriptors.h"

#include <sys/socket.h>

// The entry of a descriptor whose connect is delayed, or under way with gathered bytes still to be sent; else NULL.
struct descriptor *delayed_find(int fd);

// Takes `message` over for such a descriptor, as sendmsg(2).
ssize_t delayed_send(int fd, struct descriptor *entry, const struct msghdr *message, int flags);

#endif
