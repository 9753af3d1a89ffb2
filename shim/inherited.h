// Sockets that came from elsewhere: with exec, in a message, as a copy that was made before the connect.
#ifndef KNOCKIFY_INHERITED_H
#define KNOCKIFY_INHERITED_H

struct descriptor;

// Tracks what this program inherited and has to be looked after. Nobody is asked but for what an activator passed on.
void inherited_adopt(void);

// Finds out what a descriptor is that is tracked as unseen: its entry, or NULL for what is none of our business (any more)
// and for a socket that is still fresh.
struct descriptor *inherited_look(int fd);

#endif
