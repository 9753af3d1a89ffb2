/* Which descriptors clients have handed over, and which user's they are. Whatever the kernel is asked about one of them may
 * take as long as that user likes: native/hands.h. */
#ifndef KNOCKIFY_HANDED_H
#define KNOCKIFY_HANDED_H

#include <stdbool.h>
#include <sys/types.h>

/* A user's connection: whatever comes by it is handed over by the user. */
void knk_handed_by(int connection, uid_t uid);
/* It came by the connection. Without effect where that is nobody's, as in a program that connected to a control process. */
void knk_handed_over(int connection, int fd);
/* To be called before the descriptor is closed. */
void knk_handed_back(int fd);
bool knk_is_handed(int fd, uid_t *uid);
/* Whether it is a user's connection. */
bool knk_is_connection(int fd, uid_t *uid);

#endif
