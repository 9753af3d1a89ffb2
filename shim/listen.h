// What listen(2) and socket activation share.
#ifndef KNOCKIFY_LISTEN_H
#define KNOCKIFY_LISTEN_H

#include "control.h"

// listen(2) on a socket that has its guard, and the report that ends the session. `reuseport` is the program's own
// SO_REUSEPORT; with `inspect`, accepted connections are inspected.
int listen_guarded(struct session *session, int fd, int backlog, uint8_t reuseport, const struct verdict *verdict);

#endif
