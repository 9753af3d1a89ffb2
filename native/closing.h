/* Closing what clients have handed over: it may take as long as somebody else likes (a socket with SO_LINGER, a file of a
 * file system in user space), and a Unix socket takes with it what is in its queue. */
#ifndef KNOCKIFY_CLOSING_H
#define KNOCKIFY_CLOSING_H

#include <sys/types.h>

/* Has a descriptor that was handed over closed soon, by another thread. Of a user's there are only so many that are being closed
 * at a time; others wait until one of them is. Any other descriptor is closed at once. */
void knk_release(int fd);
/* The same for a user's connection, with all that he has sent on it and nobody has received. */
void knk_release_connection(int fd);
/* How many of a user's descriptors are not closed yet. */
int knk_releasing(uid_t uid);

#endif
