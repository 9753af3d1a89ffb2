/* How long it takes to be connected to a hidden server.
 *
 *   reach ADDRESS PORT [COMMAND...]
 *
 * Runs the command first, which is to open the port, and then tries to connect, anew every millisecond, until it is
 * connected. Prints microseconds from the beginning to that.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int connected(const struct sockaddr_in *to) {
  int error = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  socklen_t size = sizeof(error);
  if (fd < 0) err(1, "socket");

  if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS) error = errno;
  struct pollfd entry = {.fd = fd, .events = POLLOUT};
  int ready = error ? 0 : poll(&entry, 1, 1);
  if (ready > 0) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  close(fd);
  return ready > 0 && error == 0;
}

int main(int argc, char **argv) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  int status;
  pid_t pid;
  if (argc < 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) errx(2, "ADDRESS PORT [COMMAND...]");
  to.sin_port = htons((uint16_t)atoi(argv[2]));

  double begun = now();
  if (argc > 3) {
    if (posix_spawn(&pid, argv[3], NULL, NULL, argv + 3, environ) != 0) errx(1, "cannot start %s", argv[3]);
    waitpid(pid, &status, 0);
    if (status != 0) errx(1, "%s ended with %d", argv[3], status);
  }
  while (!connected(&to))
    if (now() - begun > 20e6) errx(1, "not connected within 20 seconds");
  printf("%.1f\n", now() - begun);
  return 0;
}
