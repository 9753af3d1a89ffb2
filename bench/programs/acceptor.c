/* Accepts connections on a port of every IPv4 address.
 *
 *   acceptor PORT [reset | keep]
 *
 * Closes each when many others have come after it: its client has gone by then. With `reset`, closes each at once by a
 * reset; with `keep`, none.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEPT = 512 };

int main(int argc, char **argv) {
  struct sockaddr_in here = {.sin_family = AF_INET};
  int kept[KEPT], on = 1;
  struct rlimit limit;
  if (argc < 2) errx(2, "PORT [reset | keep]");
  const bool resets = argc > 2 && strcmp(argv[2], "reset") == 0, keeps = argc > 2 && strcmp(argv[2], "keep") == 0;
  if (argc > 2 && !resets && !keeps) errx(2, "%s: must be reset or keep", argv[2]);
  here.sin_port = htons((uint16_t)atoi(argv[1]));

  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) err(1, "setrlimit");
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0) err(1, "bind");
  if (listen(listener, 4096) < 0) err(1, "listen");
  for (unsigned long accepted = 0;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 && errno == EINTR) continue;
    if (fd < 0) err(1, "accept");
    if (keeps) continue;
    if (resets) {
      struct linger reset = {.l_onoff = 1};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
      close(fd);
      continue;
    }
    if (accepted >= KEPT) close(kept[accepted % KEPT]);
    kept[accepted++ % KEPT] = fd;
  }
}
