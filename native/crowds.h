/* How many clients each user has. */
#ifndef KNOCKIFY_CROWDS_H
#define KNOCKIFY_CROWDS_H

#include <sys/types.h>

struct crowd {
  uid_t uid;
  int here;
  /* With JavaScript. */
  int elsewhere;
};

struct crowds {
  struct crowd *all;
  int room;
};

/* That of the user, valid until the next call; NULL where memory is out. */
struct crowd *knk_crowd(struct crowds *crowds, uid_t uid);

#endif
