/* What calls on descriptors cost that stealth has nothing to do with: through whatever wraps them, and in the C library
 * itself.
 *
 *   untracked BATCHES
 *
 * A line for each batch and call: name, nanoseconds of one call as the program makes it, of one by the C library's own
 * function. Both kinds of a batch follow each other in turns.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 400, POLLED = 1000 };

static int null, zero, set, spare[CALLS];
static struct pollfd polled[POLLED];
static char byte;

typedef long one_call(void *function, int i);

static long call_write(void *f, int i) { return ((ssize_t(*)(int, const void *, size_t))f)(null, &byte, (size_t)(i & 1)); }
static long call_read(void *f, int i) { return ((ssize_t(*)(int, void *, size_t))f)(zero, &byte, (size_t)(i & 1)); }
static long call_close(void *f, int i) { return ((int (*)(int))f)(spare[i]); }
static long call_poll(void *f, int i) { return ((int (*)(struct pollfd *, nfds_t, int))f)(polled, POLLED, i & 0); }
static long call_epoll(void *f, int i) {
  struct epoll_event event;

  return ((int (*)(int, struct epoll_event *, int, int))f)(set, &event, 1, i & 0);
}

static double batch(one_call *call, void *function, int calls) {
  struct timespec begun, ended;

  for (int i = 0; call == call_close && i < calls; i++) spare[i] = dup(null);
  clock_gettime(CLOCK_MONOTONIC, &begun);
  for (int i = 0; i < calls; i++) call(function, i);
  clock_gettime(CLOCK_MONOTONIC, &ended);
  return ((double)(ended.tv_sec - begun.tv_sec) * 1e9 + (double)(ended.tv_nsec - begun.tv_nsec)) / calls;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    one_call *call;
    int calls;
  } calls[] = {
      {"write", call_write, CALLS}, {"read", call_read, CALLS},          {"close", call_close, CALLS},
      {"poll", call_poll, 20},      {"epoll_wait", call_epoll, CALLS},
  };
  if (argc != 2) errx(2, "BATCHES");

  void *library = dlopen("libc.so.6", RTLD_NOW);
  if (!library) errx(1, "%s", dlerror());
  null = open("/dev/null", O_WRONLY);
  zero = open("/dev/zero", O_RDONLY);
  set = epoll_create1(0);
  for (int i = 0; i < POLLED; i++) polled[i] = (struct pollfd){.fd = zero, .events = 0};
  for (long round = 0; round < atol(argv[1]); round++) {
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
      void *wrapped = dlsym(RTLD_DEFAULT, calls[i].name), *plain = dlsym(library, calls[i].name);
      double first = round & 1 ? batch(calls[i].call, plain, calls[i].calls) : 0;
      double with = batch(calls[i].call, wrapped, calls[i].calls);
      double without = round & 1 ? first : batch(calls[i].call, plain, calls[i].calls);
      printf("%s %.2f %.2f\n", calls[i].name, with, without);
    }
  }
  return 0;
}
