#define _GNU_SOURCE
#include "brief.h"

#include "sys.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Not in the C library's headers under this name everywhere. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { WAIT_NS = 1000000 };

/* Neither Node nor the C library uses it. */
static int alarm_signal(void) { return SIGRTMIN + 9; }

static void wake(int number) { (void)number; }

/* Its signal ends what the calling thread waits for in the kernel. */
static int make_timer(timer_t *made) {
  /* Without SA_RESTART. */
  const struct sigaction action = {.sa_handler = wake};
  struct sigevent event;
  sigset_t signals;

  memset(&event, 0, sizeof(event));
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = alarm_signal();
  event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
  sigemptyset(&signals);
  sigaddset(&signals, alarm_signal());
  if (sigaction(alarm_signal(), &action, NULL) < 0 || pthread_sigmask(SIG_UNBLOCK, &signals, NULL) != 0) return -errno;
  return timer_create(CLOCK_MONOTONIC, &event, made) < 0 ? -errno : 0;
}

/* Again and again: the first signal may come before the wait begins. */
static int wind(timer_t which, long nanoseconds) {
  const struct timespec every = {.tv_nsec = nanoseconds};
  const struct itimerspec time = {every, every};

  return timer_settime(which, 0, &time, NULL) < 0 ? -errno : 0;
}

static _Thread_local timer_t timer;
/* The process; 0 as long as there is no timer. */
static _Thread_local pid_t owner;

void knk_brief_end(void) {
  if (owner == getpid()) timer_delete(timer);
  owner = 0;
}

int knk_connect_briefly(int fd, const void *address, int length) {
  /* A child of fork() has no timers. */
  if (owner != getpid()) {
    int made = make_timer(&timer);
    if (made < 0) return made;
    owner = getpid();
  }
  int result = wind(timer, WAIT_NS);
  if (result < 0) return result;
  result = knk_connect(fd, address, length);
  wind(timer, 0);
  return result;
}
