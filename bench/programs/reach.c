/* How long it takes to be connected to a hidden server.
 *
 *   reach ADDRESS PORT [COMMAND...]
 *
 * Starts a program, which begins to want a connection. With a command it runs that first, which is to open the port, and
 * then connects anew every 200 us, without giving up the attempts before, until one of them succeeds: its own waiting makes that
 * 200 us later at most. Without a command it connects once.
 *
 * Prints microseconds: from before the program's start until it is connected; from when it begins to want that; and without
 * a command, for each of some further connects of the same process.
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

enum { EVERY_NS = 200000, LONGEST = 100000, PENDING = 64, FURTHER = 20 };

extern char **environ;

static double now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int attempt(const struct sockaddr_in *to, int flags) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) err(1, "socket");

  if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS) err(1, "connect");
  return fd;
}

static double connected_once(const struct sockaddr_in *to) {
  int fd = attempt(to, 0);
  double then = now();

  close(fd);
  return then;
}

static bool has_connected(const struct pollfd *entry) {
  int error = 0;
  socklen_t size = sizeof(error);

  return entry->revents && getsockopt(entry->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

static double connected_at_last(const struct sockaddr_in *to) {
  const struct timespec moment = {.tv_nsec = EVERY_NS};
  struct pollfd pending[PENDING];
  int count = 0;

  for (int i = 0; i < LONGEST; i++) {
    struct pollfd *oldest = &pending[i % PENDING];
    if (count == PENDING) close(oldest->fd);
    else count++;
    *oldest = (struct pollfd){.fd = attempt(to, SOCK_NONBLOCK), .events = POLLOUT};
    if (ppoll(pending, (nfds_t)count, &moment, NULL) <= 0) continue;
    for (int j = 0; j < count; j++)
      if (has_connected(&pending[j])) return now();
  }
  errx(1, "not connected");
}

static void run(char **command) {
  int status;
  pid_t pid;

  if (posix_spawn(&pid, command[0], NULL, NULL, command, environ) != 0) errx(1, "cannot start %s", command[0]);
  waitpid(pid, &status, 0);
  if (status != 0) errx(1, "%s ended with %d", command[0], status);
}

/* The program that is started. */
static void want(double start, const struct sockaddr_in *to, char **command) {
  double begun = now(), connected;

  if (command[0]) run(command);
  connected = command[0] ? connected_at_last(to) : connected_once(to);
  printf("%.1f %.1f", connected - start, connected - begun);
  for (int i = 0; !command[0] && i < FURTHER; i++) {
    begun = now();
    printf(" %.1f", connected_once(to) - begun);
  }
  printf("\n");
}

int main(int argc, char **argv) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  if (argc > 4 && strcmp(argv[1], "since") == 0) {
    if (inet_pton(AF_INET, argv[3], &to.sin_addr) != 1) errx(2, "%s is not an IPv4 address", argv[3]);
    to.sin_port = htons((uint16_t)atoi(argv[4]));
    want(strtod(argv[2], NULL), &to, argv + 5);
    return 0;
  }
  if (argc < 3) errx(2, "ADDRESS PORT [COMMAND...]");

  char start[32], *program[argc + 3];
  memcpy(program + 3, argv + 1, (size_t)argc * sizeof(*argv));
  program[0] = argv[0];
  program[1] = "since";
  program[2] = start;
  snprintf(start, sizeof(start), "%.3f", now());
  run(program);
  return 0;
}
