#define _GNU_SOURCE
#include "brief.h"

#include "sys.h"

#include <errno.h>
#include <signal.h>
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

static _Thread_local timer_t timer;
/* The process; 0 as long as there is no timer. */
static _Thread_local pid_t owner;

/* Neither Node nor the C library uses it. */
static int alarm_signal(void) { return SIGRTMIN + 9; }

static void wake(int number) { (void)number; }

/* 0 or -errno. */
static int mask_alarm(int how) {
  sigset_t signals;

  sigemptyset(&signals);
  sigaddset(&signals, alarm_signal());
  return -pthread_sigmask(how, &signals, NULL);
}

/* Its signal ends what the calling thread waits for in the kernel; again and again, since the first may come before the wait
 * begins. While it is blocked the kernel does not wind the timer anew: it costs nothing between connects, and to wind and stop
 * it for each would take as long as the connect itself. */
static int make_timer(void) {
  const struct timespec every = {.tv_nsec = WAIT_NS};
  const struct itimerspec time = {every, every};
  /* Without SA_RESTART. */
  const struct sigaction action = {.sa_handler = wake};
  struct sigevent event;

  memset(&event, 0, sizeof(event));
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = alarm_signal();
  event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
  int blocked = mask_alarm(SIG_BLOCK);
  if (blocked < 0) return blocked;
  if (sigaction(alarm_signal(), &action, NULL) < 0 || timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) return -errno;
  if (timer_settime(timer, 0, &time, NULL) == 0) return 0;
  int error = errno;
  timer_delete(timer);
  return -error;
}

void knk_brief_end(void) {
  if (owner == getpid()) timer_delete(timer);
  owner = 0;
}

int knk_connect_briefly(int fd, const void *address, int length) {
  /* A child of fork() has no timers. */
  if (owner != getpid()) {
    int made = make_timer();
    if (made < 0) return made;
    owner = getpid();
  }
  int result = mask_alarm(SIG_UNBLOCK);
  if (result < 0) return result;
  result = knk_connect(fd, address, length);
  /* Nothing else is to be interrupted. */
  mask_alarm(SIG_BLOCK);
  return result;
}
