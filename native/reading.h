/* Reading files that somebody else opened. Their file system may be in user space, or hang: fstat() and read() last as long as
 * it likes then, and no signal ends them. */
#ifndef KNOCKIFY_READING_H
#define KNOCKIFY_READING_H

#include <stdint.h>

/* What the datagram starts with; the bytes follow, of a regular file that is no longer than was to be read. */
struct knk_file {
  /* An errno, or 0. */
  int32_t error;
  uint32_t mode;
  uint32_t uid;
  uint32_t length;
  int64_t size;
};
_Static_assert(sizeof(struct knk_file) == 24, "mirrored in ts/sys/files.ts");

/* Reads the file from its start, up to `most` bytes, in a thread of its own, which closes the descriptor afterwards. Returns
 * a descriptor that becomes readable, with one datagram first, and with the end when the file is closed; or -errno, and
 * then has done nothing. */
int knk_read_later(int fd, int most);

#endif
