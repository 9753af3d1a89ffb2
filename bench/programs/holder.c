/* Holds sockets, and tells what they cost.
 *
 *   holder connect ADDRESS PORT COUNT
 *   holder listen COUNT
 *
 * Connects to the port, or listens on as many ports, without hanging up. For each socket, nanoseconds of the call; then
 * `memory`, and how much more private memory the process had at the end, in bytes. Then waits for its end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Bytes that are this process's alone. */
static long private_memory(void) {
  char line[256];
  long total = 0, kilobytes;
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  if (!file) err(1, "/proc/self/smaps_rollup");

  while (fgets(line, sizeof(line), file))
    if (sscanf(line, "Private_Dirty: %ld", &kilobytes) == 1 || sscanf(line, "Private_Clean: %ld", &kilobytes) == 1)
      total += kilobytes * 1024;
  fclose(file);
  return total;
}

enum { WARM = 8 };

static int hold(const struct sockaddr_in *to, int *held) {
  int fd = *held = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) err(1, "socket");

  int64_t begun = now();
  int result = to ? connect(fd, (const struct sockaddr *)to, sizeof(*to)) : listen(fd, 16);
  int64_t taken = now() - begun;
  if (result < 0) err(1, to ? "connect" : "listen");
  return (int)taken;
}

int main(int argc, char **argv) {
  static int times[1 << 17];
  struct sockaddr_in to = {.sin_family = AF_INET};
  struct rlimit limit;
  int warm[WARM], held;
  if (argc != 5 && argc != 3) errx(2, "connect ADDRESS PORT COUNT, or listen COUNT");

  long count = atol(argv[argc - 1]);
  if (argc == 5) {
    if (inet_pton(AF_INET, argv[2], &to.sin_addr) != 1) errx(2, "%s is not an IPv4 address", argv[2]);
    to.sin_port = htons((uint16_t)atoi(argv[3]));
  }
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) err(1, "setrlimit");
  memset(times, 1, sizeof(times));
  /* The first ones find everything cold. */
  for (int i = 0; i < WARM; i++) hold(argc == 5 ? &to : NULL, &warm[i]);
  for (int i = 0; i < WARM; i++) close(warm[i]);
  long before = private_memory();
  for (long i = 0; i < count; i++) times[i] = hold(argc == 5 ? &to : NULL, &held);
  long after = private_memory();
  for (long i = 0; i < count; i++) printf("%d\n", times[i]);
  printf("memory %ld\n", after - before);
  fflush(stdout);
  pause();
  return 0;
}
