#define _GNU_SOURCE
#include "reading.h"

#include "handed.h"
#include "threads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct reading {
  int file;
  int result;
  uint32_t most;
  struct knk_file found;
  uint8_t bytes[];
};

static int read_whole(struct reading *reading) {
  struct knk_file *found = &reading->found;
  struct stat stat;

  if (fstat(reading->file, &stat) < 0) return errno;
  found->mode = stat.st_mode;
  found->uid = stat.st_uid;
  found->size = stat.st_size;
  /* Others may have no start, or no end. */
  if (!S_ISREG(stat.st_mode) || stat.st_size > reading->most) return 0;
  while (found->length < reading->most) {
    ssize_t got = pread(reading->file, reading->bytes + found->length, reading->most - found->length, found->length);
    if (got < 0) return errno;
    if (got == 0) break;
    found->length += (uint32_t)got;
  }
  return 0;
}

static void *run(void *argument) {
  struct reading *reading = argument;
  struct knk_file *found = &reading->found;

  found->error = read_whole(reading);
  if (found->error) found->length = 0;
  if (send(reading->result, found, sizeof(*found) + found->length, MSG_NOSIGNAL) < 0 && errno == EMSGSIZE) {
    const struct knk_file failed = {.error = EMSGSIZE};
    send(reading->result, &failed, sizeof(failed), MSG_NOSIGNAL);
  }
  /* Secrets are in it. */
  explicit_bzero(reading->bytes, reading->most);
  /* This, too, may wait for the file system. */
  close(reading->file);
  close(reading->result);
  free(reading);
  return NULL;
}

int knk_read_later(int fd, int most) {
  int ends[2];
  struct reading *reading = most < 0 ? NULL : calloc(1, sizeof(*reading) + (size_t)most);
  if (!reading) return most < 0 ? -EINVAL : -ENOMEM;

  int failed = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
  if (!failed) {
    reading->file = fd;
    reading->result = ends[1];
    reading->most = (uint32_t)most;
    failed = knk_thread(run, reading);
    if (!failed) {
      knk_handed_back(fd);
      return ends[0];
    }
    close(ends[0]);
    close(ends[1]);
  }
  free(reading);
  return failed;
}
