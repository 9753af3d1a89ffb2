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

/* How long a wait may last, and how many signals without a connect end them. To wind the timer for each connect and stop it
 * again would take as long as all of the connect in the kernel: while there are many, it runs on. */
enum { WAIT_NS = 1000000, IDLE_SIGNALS = 3 };

static _Thread_local timer_t timer;
/* The process; 0 as long as there is no timer. */
static _Thread_local volatile pid_t owner;
static _Thread_local volatile sig_atomic_t is_wound, is_connecting, idle_signals;

/* Neither Node nor the C library uses it. */
static int alarm_signal(void) { return SIGRTMIN + 9; }

/* Again and again: the first signal may come before the wait begins. */
static int wind(long nanoseconds) {
  const struct timespec every = {.tv_nsec = nanoseconds};
  const struct itimerspec time = {every, every};

  return timer_settime(timer, 0, &time, NULL) < 0 ? -errno : 0;
}

static void wake(int number) {
  (void)number;
  if (owner == 0 || is_connecting || ++idle_signals < IDLE_SIGNALS) return;
  is_wound = 0;
  wind(0);
}

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

void knk_brief_end(void) {
  bool mine = owner == getpid();

  /* First: a late signal must not touch what has the timer's number next. */
  owner = 0;
  if (mine) timer_delete(timer);
}

int knk_connect_briefly(int fd, const void *address, int length) {
  /* A child of fork() has no timers. */
  if (owner != getpid()) {
    int made = make_timer(&timer);
    if (made < 0) return made;
    owner = getpid();
    is_wound = 0;
  }
  idle_signals = 0;
  /* First: from here on no signal stops the timer. */
  is_connecting = 1;
  int result = is_wound ? 0 : wind(WAIT_NS);
  is_wound = result == 0;
  if (result == 0) result = knk_connect(fd, address, length);
  is_connecting = 0;
  return result;
}
