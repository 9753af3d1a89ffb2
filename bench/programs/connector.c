/* Connects again and again.
 *
 *   connector latency ADDRESS PORT PLAIN-PORT COUNT
 *   connector rate ADDRESS PORT SECONDS
 *
 * `latency` makes COUNT pairs of connects, one to PORT and one to PLAIN-PORT, the latter by the system call itself, which
 * no preloaded library sees: both kinds meet the same moments of the machine. A line a pair: nanoseconds of each.
 * `rate` connects to PORT only, and prints how often it did.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { KEPT = 16 };

typedef int connecting(int fd, const struct sockaddr *address, socklen_t size);

static int plain(int fd, const struct sockaddr *address, socklen_t size) {
  return (int)syscall(SYS_connect, fd, address, size);
}

static int64_t now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Each is closed when some others have come after it, as programs do not hang up at once, and by a reset: ports in
 * TIME-WAIT would run out. */
static void close_later(int fd) {
  static int kept[KEPT];
  static unsigned long count;
  struct linger reset = {.l_onoff = 1};

  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  if (count >= KEPT) close(kept[count % KEPT]);
  kept[count++ % KEPT] = fd;
}

/* Nanoseconds. */
static int64_t connect_once(const struct sockaddr_in *to, connecting *how) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) err(1, "socket");

  int64_t begun = now();
  if (how(fd, (const struct sockaddr *)to, sizeof(*to)) < 0) err(1, "connect to port %d", ntohs(to->sin_port));
  int64_t taken = now() - begun;
  close_later(fd);
  return taken;
}

static struct sockaddr_in endpoint(const char *address, const char *port) {
  struct sockaddr_in result = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

  if (inet_pton(AF_INET, address, &result.sin_addr) != 1) errx(2, "%s is not an IPv4 address", address);
  return result;
}

static void measure(const struct sockaddr_in *to, const struct sockaddr_in *plainly, long count) {
  for (long i = 0; i < count; i++) {
    int64_t first = connect_once(to, connect);
    printf("%lld %lld\n", (long long)first, (long long)connect_once(plainly, plain));
  }
}

static void repeat(const struct sockaddr_in *to, double seconds) {
  int64_t end = now() + (int64_t)(seconds * 1e9);
  long made = 0;

  for (; now() < end; made++) connect_once(to, connect);
  printf("%ld\n", made);
}

int main(int argc, char **argv) {
  if (argc == 6 && strcmp(argv[1], "latency") == 0) {
    struct sockaddr_in to = endpoint(argv[2], argv[3]), plainly = endpoint(argv[2], argv[4]);
    measure(&to, &plainly, atol(argv[5]));
  } else if (argc == 5 && strcmp(argv[1], "rate") == 0) {
    struct sockaddr_in to = endpoint(argv[2], argv[3]);
    repeat(&to, atof(argv[4]));
  } else {
    errx(2, "latency ADDRESS PORT PLAIN-PORT COUNT, or rate ADDRESS PORT SECONDS");
  }
  return 0;
}
