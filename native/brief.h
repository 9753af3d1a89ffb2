/* connect() on an open file that others share: O_NONBLOCK is theirs to set, and whether the kernel delays the connect is too. */
#ifndef KNOCKIFY_BRIEF_H
#define KNOCKIFY_BRIEF_H

/* 0 or -errno, as connect() has it; -EINTR where it waited, which it may for a few milliseconds: the connect is under way
 * then. What needs no wait is done however long it takes. */
int knk_connect_briefly(int fd, const void *address, int length);
/* To be called by a thread that ends. */
void knk_brief_end(void);

#endif
