#define _GNU_SOURCE
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST_STORED = 16 };

int knk_harden(void) {
  const struct rlimit none = {0, 0};

  if (setrlimit(RLIMIT_CORE, &none) < 0) return -errno;
  /* A core pattern that names a program ignores RLIMIT_CORE; and neither ptrace nor /proc/PID/mem of another
   * process of this user gets at an undumpable one. */
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return -errno;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int knk_unblock(int fd) {
  int flags = fcntl(fd, F_GETFL);

  return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int knk_notify(const char *path, const void *state, int length, const int32_t *descriptors, int count) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t named = strlen(path);
  if (named < 2 || named > sizeof(address.sun_path) || count < 0 || count > MOST_STORED) return -EINVAL;
  memcpy(address.sun_path, path, named);
  if (path[0] == '@') address.sun_path[0] = '\0';

  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(MOST_STORED * sizeof(int))];
  } control = {0};
  struct iovec text = {.iov_base = (void *)state, .iov_len = (size_t)length};
  struct msghdr message = {
      .msg_name = &address,
      .msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + named),
      .msg_iov = &text,
      .msg_iovlen = 1,
  };
  if (count > 0) {
    size_t size = (size_t)count * sizeof(int);
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(rights), descriptors, size);
  }
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int result = sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
  close(fd);
  return result;
}
