#define _GNU_SOURCE
#include "behind.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { MOST_OF_A_USER = 4, MOST = 128 };
/* In place of a socket's inode. Without /proc it is unknown: nothing more is done with any socket then as long as a hand is
 * behind. */
#define UNKNOWN (~0UL)

static struct knk_behind *all;
static atomic_int count;

int knk_hands_behind(void) { return atomic_load(&count); }

unsigned long knk_inode_of(int fd) {
  char path[40], target[40] = "";
  unsigned long inode = KNK_NO_SOCKET;

  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  if (readlink(path, target, sizeof(target) - 1) < 0) return UNKNOWN;
  sscanf(target, "socket:[%lu]", &inode);
  return inode;
}

void knk_behind_add(struct knk_behind *one, uid_t uid, unsigned long inode) {
  one->uid = uid;
  one->inode = inode;
  one->next = all;
  all = one;
  atomic_fetch_add(&count, 1);
}

void knk_behind_remove(struct knk_behind *one) {
  struct knk_behind **link = &all;

  while (*link != one) link = &(*link)->next;
  *link = one->next;
  atomic_fetch_sub(&count, 1);
}

bool knk_behind_has(unsigned long inode) {
  for (const struct knk_behind *one = all; one && inode != KNK_NO_SOCKET; one = one->next)
    if (one->inode == inode || one->inode == UNKNOWN) return true;
  return false;
}

bool knk_behind_is_full(uid_t uid) {
  int of_user = 0;

  for (const struct knk_behind *one = all; one; one = one->next) of_user += one->uid == uid;
  return of_user >= MOST_OF_A_USER || knk_hands_behind() >= MOST;
}
