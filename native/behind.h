/* What hands stay behind with. All but the count is for those who hold the lock of hands.c. */
#ifndef KNOCKIFY_BEHIND_H
#define KNOCKIFY_BEHIND_H

#include <stdbool.h>
#include <sys/types.h>

/* The inode of no socket. */
enum { KNK_NO_SOCKET = 0 };

struct knk_behind {
  struct knk_behind *next;
  uid_t uid;
  unsigned long inode;
};

void knk_behind_add(struct knk_behind *one, uid_t uid, unsigned long inode);
void knk_behind_remove(struct knk_behind *one);
bool knk_behind_has(unsigned long inode);
/* Whether as many are behind as may be, of the user's or of all. */
bool knk_behind_is_full(uid_t uid);
/* How many there are; takes no lock. What hands use besides the socket must stay open as long as they are behind. */
int knk_hands_behind(void);

/* KNK_NO_SOCKET, or that of the socket. Takes no lock, unlike most of what the kernel can be asked. */
unsigned long knk_inode_of(int fd);

#endif
