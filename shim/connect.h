// What connect and the first sends share.
#ifndef KNOCKIFY_CONNECT_H
#define KNOCKIFY_CONNECT_H

#include "control.h"

// Between learning the timestamp offset of a port and connecting from it, another connection may take the port. With as
// many attempts as this, the next free one is found even on a busy machine.
enum { PORT_ATTEMPTS = 8 };

// The real connect of an armed socket. -1 with errno, as connect(2); the session is still open then, for the report.
int connect_armed(struct session *session, int fd, const struct sockaddr *address, socklen_t size);

#endif
