/* What calls on descriptors cost that stealth has nothing to do with: through whatever wraps them, and in the C library
 * itself.
 *
 *   untracked BLOCKS [ADDRESS PORT]
 *
 * A line for each block and call: name, tab, nanoseconds that a call through the wrapper takes more. Then, where there is
 * one, connects to the port, which the library is to delay, and goes on beside that.
 *
 * Each difference is that of four short runs, wrapper, library, library, wrapper, or the other way round: what becomes slower
 * or faster steadily cancels out. A block's figure is the median of some, which an interruption does not change. All is
 * done on one processor.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DIFFERENCES = 99, CALLS = 50, POLLED = 1000 };

static int null, zero, set, spare[CALLS];
static struct pollfd polled[POLLED];
static char byte;

typedef long one_call(void *function, int i);

static long call_write(void *f, int i) { return ((ssize_t(*)(int, const void *, size_t))f)(null, &byte, (size_t)(i & 1)); }
static long call_read(void *f, int i) { return ((ssize_t(*)(int, void *, size_t))f)(zero, &byte, (size_t)(i & 1)); }
static long call_close(void *f, int i) { return ((int (*)(int))f)(spare[i]); }
static long call_poll_one(void *f, int i) { return ((int (*)(struct pollfd *, nfds_t, int))f)(polled, 1, i & 0); }
static long call_poll(void *f, int i) { return ((int (*)(struct pollfd *, nfds_t, int))f)(polled, POLLED, i & 0); }
static long call_epoll(void *f, int i) {
  struct epoll_event event;

  return ((int (*)(int, struct epoll_event *, int, int))f)(set, &event, 1, i & 0);
}

static const struct measured {
  const char *name, *symbol;
  one_call *call;
  int calls;
  bool beside; /* A delayed connect. */
} all[] = {
    {"write", "write", call_write, CALLS, false},
    {"read", "read", call_read, CALLS, false},
    {"close", "close", call_close, CALLS, false},
    {"epoll_wait", "epoll_wait", call_epoll, CALLS, false},
    {"poll of 1", "poll", call_poll_one, CALLS, false},
    {"poll of 1000", "poll", call_poll, 1, false},
    {"write beside a delayed connect", "write", call_write, CALLS, true},
    {"poll of 1 beside a delayed connect", "poll", call_poll_one, CALLS, true},
    {"poll of 1000 beside a delayed connect", "poll", call_poll, 1, true},
};

static double run(const struct measured *one, void *function) {
  struct timespec begun, ended;

  for (int i = 0; one->call == call_close && i < one->calls; i++) spare[i] = dup(null);
  clock_gettime(CLOCK_MONOTONIC, &begun);
  for (int i = 0; i < one->calls; i++) one->call(function, i);
  clock_gettime(CLOCK_MONOTONIC, &ended);
  return ((double)(ended.tv_sec - begun.tv_sec) * 1e9 + (double)(ended.tv_nsec - begun.tv_nsec)) / one->calls;
}

static int compare(const void *one, const void *other) {
  double difference = *(const double *)one - *(const double *)other;

  return difference < 0 ? -1 : difference > 0;
}

static double block(const struct measured *one, void *wrapped, void *plain) {
  double differences[DIFFERENCES];

  for (int i = 0; i < DIFFERENCES; i++) {
    void *outer = i & 1 ? plain : wrapped, *inner = i & 1 ? wrapped : plain;
    double first = run(one, outer), second = run(one, inner), third = run(one, inner), fourth = run(one, outer);
    double more = (first + fourth - second - third) / 2;
    differences[i] = i & 1 ? -more : more;
  }
  qsort(differences, DIFFERENCES, sizeof(*differences), compare);
  return differences[DIFFERENCES / 2];
}

static void measure(bool beside, long blocks) {
  void *library = dlopen("libc.so.6", RTLD_NOW);
  if (!library) errx(1, "%s", dlerror());

  for (long round = 0; round < blocks; round++)
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
      if (all[i].beside == beside)
        printf("%s\t%.3f\n", all[i].name, block(&all[i], dlsym(RTLD_DEFAULT, all[i].symbol), dlsym(library, all[i].symbol)));
}

static void stay(void) {
  cpu_set_t here;

  CPU_ZERO(&here);
  CPU_SET(sched_getcpu(), &here);
  if (sched_setaffinity(0, sizeof(here), &here) < 0) err(1, "sched_setaffinity");
}

int main(int argc, char **argv) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  if (argc != 2 && (argc != 4 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1)) errx(2, "BLOCKS [ADDRESS PORT]");

  stay();
  null = open("/dev/null", O_WRONLY);
  zero = open("/dev/zero", O_RDONLY);
  set = epoll_create1(0);
  for (int i = 0; i < POLLED; i++) polled[i] = (struct pollfd){.fd = zero, .events = 0};
  measure(false, atol(argv[1]));
  if (argc == 2) return 0;

  to.sin_port = htons((uint16_t)atoi(argv[3]));
  if (connect(socket(AF_INET, SOCK_STREAM, 0), (const struct sockaddr *)&to, sizeof(to)) < 0) err(1, "connect");
  measure(true, atol(argv[1]));
  return 0;
}
