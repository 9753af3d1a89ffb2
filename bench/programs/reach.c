/* How long it takes from nothing to being connected to a hidden server.
 *
 *   reach ADDRESS PORT [COMMAND...]
 *
 * Runs the command first, which is to open the port, and then starts a program that connects: once where there was no
 * command, else anew every millisecond until it is connected. Prints microseconds from the beginning to that.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Milliseconds. */
enum { LONGEST = 20000 };

extern char **environ;

static double now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int try_once(const struct sockaddr_in *to, int milliseconds) {
  int error = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  socklen_t size = sizeof(error);
  if (fd < 0) err(1, "socket");

  if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS) error = errno;
  struct pollfd entry = {.fd = fd, .events = POLLOUT};
  int ready = error ? 0 : poll(&entry, 1, milliseconds);
  if (ready > 0) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  close(fd);
  return ready > 0 && error == 0;
}

/* The program that connects. */
static int be_connected(const char *address, const char *port, bool again) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) errx(2, "%s is not an IPv4 address", address);

  if (!again) return try_once(&to, LONGEST) ? 0 : 1;
  for (int attempt = 0; attempt < LONGEST; attempt++)
    if (try_once(&to, 1)) return 0;
  return 1;
}

static void run(char **command) {
  int status;
  pid_t pid;

  if (posix_spawn(&pid, command[0], NULL, NULL, command, environ) != 0) errx(1, "cannot start %s", command[0]);
  waitpid(pid, &status, 0);
  if (status != 0) errx(1, "%s ended with %d", command[0], status);
}

int main(int argc, char **argv) {
  if (argc == 4 && (strcmp(argv[1], "once") == 0 || strcmp(argv[1], "again") == 0))
    return be_connected(argv[2], argv[3], argv[1][0] == 'a');
  if (argc < 3) errx(2, "ADDRESS PORT [COMMAND...]");

  char *program[] = {argv[0], argc > 3 ? "again" : "once", argv[1], argv[2], NULL};
  double begun = now();
  if (argc > 3) run(argv + 3);
  run(program);
  printf("%.1f\n", now() - begun);
  return 0;
}
