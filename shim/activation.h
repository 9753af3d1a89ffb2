// Listeners that came from elsewhere: by socket activation, with exec, in a message.
#ifndef KNOCKIFY_ACTIVATION_H
#define KNOCKIFY_ACTIVATION_H

#include <stdbool.h>

// Has the listeners guarded that an activator passed on to this very process (LISTEN_PID, LISTEN_FDS).
void activation_begin(void);

// To be called before a descriptor is accepted from or waited for. A listener that came from elsewhere and has no guard gets
// it, if stealth applies to it. False when that is impossible: nothing must be accepted then. errno is kept.
bool activation_settled(int fd);

#endif
