// Descriptors that travel in messages (SCM_RIGHTS).
#ifndef KNOCKIFY_RIGHTS_H
#define KNOCKIFY_RIGHTS_H

#include <sys/socket.h>

// Sent: whoever receives them has the sockets, too.
void rights_sent(const struct msghdr *message);

// Received: they may be of sockets that stealth has to do with.
void rights_received(const struct msghdr *message);

#endif
