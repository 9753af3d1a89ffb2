#include "handed.h"

#include <stdatomic.h>
#include <stdint.h>

/* As many descriptors as fs.nr_open allows unless it was raised. No memory is used for those that are not. */
enum { MOST = 1 << 20 };

/* What a descriptor is, above the user's number. */
#define CONNECTION (1ULL << 32)
#define HANDED (2ULL << 32)

static _Atomic uint64_t known[MOST];

static void know(int fd, uint64_t what) {
  if (fd >= 0 && fd < MOST) atomic_store_explicit(&known[fd], what, memory_order_relaxed);
}

static uint64_t what(int fd) {
  if (fd < 0) return 0;
  /* Nobody's, and not ours: to be on the safe side. */
  if (fd >= MOST) return CONNECTION | HANDED | UINT32_MAX;
  return atomic_load_explicit(&known[fd], memory_order_relaxed);
}

void knk_handed_by(int connection, uid_t uid) { know(connection, CONNECTION | uid); }

void knk_handed_over(int connection, int fd) {
  uint64_t of = what(connection);

  if (of & CONNECTION) know(fd, HANDED | (uint32_t)of);
}

void knk_handed_back(int fd) { know(fd, 0); }

bool knk_is_handed(int fd, uid_t *uid) {
  uint64_t is = what(fd);

  *uid = (uid_t)is;
  return is & HANDED;
}

bool knk_is_connection(int fd, uid_t *uid) {
  uint64_t is = what(fd);

  *uid = (uid_t)is;
  return is & CONNECTION;
}
