#define _GNU_SOURCE
#include "hands.h"

#include "behind.h"
#include "brief.h"
#include "debts.h"
#include "sys.h"
#include "threads.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How long a hand is waited for that sleeps in the kernel, and one that does not, but has no processor perhaps. How long until
 * it is looked at first, and then again. Milliseconds. */
enum { PATIENCE = 250, LONGEST = 5000, SOON = 5, AGAIN = 10 };
/* A hand that slept in the kernel for less is not charged for: it may have waited for this file's own mutex. Microseconds. */
enum { NOTHING = 500 };
/* How many wait for work; others end. */
enum { MOST_IDLE = 1 };

struct job {
  struct knk_behind behind;
  struct knk_work work;
  /* CALLED: there is a result, and the duplicate is not closed yet. */
  enum { WAITED_FOR, COMMITTED, CALLED, DONE, LEFT } state;
  pthread_cond_t done;
  /* The hand's; 0 as long as it has not begun. */
  pid_t thread;
  /* For how long it was about its call, if it slept meanwhile; microseconds. */
  int64_t slept;
  int result;
  /* What numbers[0] is a duplicate of, once the hand has begun. Whoever waits owns it. */
  int original;
  int32_t numbers[KNK_NUMBERS];
  int length;
  uint8_t bytes[];
};

struct hand {
  struct hand *next;
  struct job *job;
  pthread_cond_t called;
};

/* For all that follows, and for the jobs but for what the hand works on. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hand *idle;
static int idle_hands;
static int spare = -1;
/* The hand's own. */
static _Thread_local struct job *in_work;

bool knk_is_in_hand(int fd) {
  if (knk_hands_behind() == 0) return false;
  unsigned long inode = knk_inode_of(fd);
  pthread_mutex_lock(&mutex);
  bool is = knk_behind_has(inode);
  pthread_mutex_unlock(&mutex);
  return is;
}

/* 0, or why nothing is to be done for the user. */
static int refused(uid_t uid) {
  if (knk_behind_is_full(uid)) return KNK_TOO_MANY;
  return knk_debts_exceeded(uid) ? KNK_TOO_LONG : 0;
}

static void free_job(struct job *job) {
  /* Secrets may be in it. */
  explicit_bzero(job->bytes, (size_t)job->length);
  pthread_cond_destroy(&job->done);
  free(job);
}

/* Who got in with the last descriptors is to be served: one is kept for the duplicate. */
static int duplicate(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy >= 0 || errno != EMFILE || spare < 0) return copy;

  close(spare);
  spare = -1;
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static void keep_spare(void) {
  if (spare < 0) spare = eventfd(0, EFD_CLOEXEC);
}

/* What is left behind is over: nobody else knows of it any more. */
static void discard(struct job *job) {
  knk_behind_remove(&job->behind);
  free_job(job);
}

static int64_t now_us(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

/* How often this thread went to sleep. */
static long sleeps(void) {
  struct rusage usage;

  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}

static int call(struct job *job) {
  const int64_t began = now_us();
  const long before = sleeps();

  int result = job->work.call(job->numbers, job->bytes, job->length);
  job->slept = sleeps() != before ? now_us() - began : 0;
  return result;
}

/* All is closed before anybody goes on, since it may take long: a hand that has a result, but is not done with that, is left
 * behind, too. The mutex is held, but not all the time. */
static void do_job(struct job *job) {
  /* The descriptor is not ours any more. */
  if (job->state == LEFT) {
    discard(job);
    return;
  }
  job->thread = (pid_t)syscall(SYS_gettid);
  job->numbers[0] = duplicate(job->original);
  int result = job->numbers[0] < 0 ? -errno : 0;
  in_work = job;
  pthread_mutex_unlock(&mutex);
  if (result == 0) result = call(job);
  pthread_mutex_lock(&mutex);
  bool late = job->state == LEFT;
  job->result = result;
  if (!late) job->state = CALLED;
  pthread_mutex_unlock(&mutex);
  if (late && job->work.late) job->work.late(job->numbers, job->bytes, job->length);
  if (job->numbers[0] >= 0) close(job->numbers[0]);
  if (!late && result == 0 && job->work.closes) knk_close(job->original);
  pthread_mutex_lock(&mutex);
  keep_spare();
  if (job->state == LEFT) {
    discard(job);
    return;
  }
  job->state = DONE;
  pthread_cond_signal(&job->done);
}

bool knk_hand_commits(void) {
  pthread_mutex_lock(&mutex);
  bool waited_for = in_work->state == WAITED_FOR;
  if (waited_for) in_work->state = COMMITTED;
  pthread_mutex_unlock(&mutex);
  return waited_for;
}

/* False where there are enough that wait. */
static bool rest(struct hand *hand) {
  if (idle_hands >= MOST_IDLE) return false;
  hand->next = idle;
  idle = hand;
  idle_hands++;
  while (!hand->job) pthread_cond_wait(&hand->called, &mutex);
  return true;
}

static void *serve(void *argument) {
  struct hand *hand = argument;

  prctl(PR_SET_NAME, "knockify-hand");
  pthread_mutex_lock(&mutex);
  do {
    struct job *job = hand->job;
    hand->job = NULL;
    do_job(job);
  } while (rest(hand));
  pthread_mutex_unlock(&mutex);
  pthread_cond_destroy(&hand->called);
  free(hand);
  knk_brief_end();
  return NULL;
}

/* False where there can be no hand. The mutex is held. */
static bool give(struct job *job) {
  struct hand *hand = idle;

  if (hand) {
    idle = hand->next;
    idle_hands--;
    hand->job = job;
    pthread_cond_signal(&hand->called);
    return true;
  }
  hand = calloc(1, sizeof(*hand));
  if (!hand) return false;
  hand->job = job;
  pthread_cond_init(&hand->called, NULL);
  if (knk_thread(serve, hand) == 0) return true;
  pthread_cond_destroy(&hand->called);
  free(hand);
  return false;
}

/* NULL where memory is out. */
static struct job *make_job(const struct knk_work *work, const int32_t *numbers, const void *bytes, int length) {
  pthread_condattr_t attributes;
  struct job *job = calloc(1, sizeof(*job) + (size_t)length);
  if (!job) return NULL;

  job->work = *work;
  memcpy(job->numbers, numbers, sizeof(job->numbers));
  job->original = numbers[0];
  job->length = length;
  if (length > 0) memcpy(job->bytes, bytes, (size_t)length);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&job->done, &attributes);
  pthread_condattr_destroy(&attributes);
  return job;
}

/* Whether the thread waits in the kernel, rather than for a processor. */
static bool is_asleep(pid_t thread) {
  char path[40], text[128] = "";

  if (thread == 0) return false;
  snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return true;
  ssize_t length = read(file, text, sizeof(text) - 1);
  close(file);
  const char *name = strrchr(text, ')');
  return length <= 0 || !name || strncmp(name, ") R", 3) != 0;
}

/* False once it takes too long. Whoever's it is pays for what was waited. The mutex is held, but not all the time. */
static bool wait_for(struct job *job) {
  int waited = 0, held = 0;

  while (job->state == COMMITTED || (job->state != DONE && held < PATIENCE && waited < LONGEST)) {
    int pause = waited == 0 ? SOON : AGAIN;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += pause * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    if (pthread_cond_timedwait(&job->done, &mutex, &until) != ETIMEDOUT) continue;
    waited += pause;
    pid_t thread = job->thread;
    pthread_mutex_unlock(&mutex);
    held += is_asleep(thread) ? pause : 0;
    pthread_mutex_lock(&mutex);
  }
  int64_t owed = 1000LL * held;
  if (job->state == DONE && job->slept > owed) owed = job->slept;
  if (owed >= NOTHING) knk_debts_charge(job->work.uid, owed);
  return job->state == DONE;
}

static void leave_behind(struct job *job, unsigned long inode) {
  job->state = LEFT;
  knk_behind_add(&job->behind, job->work.uid, inode);
}

/* What has come of it, as of knk_by_hand. */
static int take(struct job *job, const int32_t *numbers, void *bytes) {
  const bool done = wait_for(job);

  if (job->state == WAITED_FOR) {
    leave_behind(job, knk_inode_of(numbers[0]));
    return KNK_HELD;
  }
  int result = job->result;
  if (job->length > 0) memcpy(bytes, job->bytes, (size_t)job->length);
  if (done) free_job(job);
  else leave_behind(job, KNK_NO_SOCKET);
  return result;
}

static int do_by_hand(const struct knk_work *work, const int32_t *numbers, void *bytes, int length) {
  if (knk_hands_behind() > 0 && knk_behind_has(knk_inode_of(numbers[0]))) return KNK_HELD;
  int why = refused(work->uid);
  if (why) return why;
  struct job *job = make_job(work, numbers, bytes, length);
  if (job && give(job)) return take(job, numbers, bytes);
  if (job) free_job(job);
  return KNK_NO_HAND;
}

void knk_hands_prepare(void) {
  pthread_mutex_lock(&mutex);
  keep_spare();
  pthread_mutex_unlock(&mutex);
}

int knk_by_hand(const struct knk_work *work, const int32_t numbers[KNK_NUMBERS], void *bytes, int length) {
  pthread_mutex_lock(&mutex);
  int result = do_by_hand(work, numbers, bytes, length);
  pthread_mutex_unlock(&mutex);
  return result;
}
