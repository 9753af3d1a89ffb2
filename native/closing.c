#define _GNU_SOURCE
#include "closing.h"

#include "crowds.h"
#include "handed.h"
#include "threads.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_OF_A_USER = 4, MOST = 128, MOST_IDLE = 1 };

struct closing {
  struct closing *next;
  /* Among those that a thread is called for. */
  struct closing *next_given;
  uid_t uid;
  int fd;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER;
/* Those that wait, oldest first; those that are being closed, and those of them that a thread is to take yet. */
static struct closing *waiting, *begun, *given;
static struct closing **last = &waiting;
/* How many of each user wait or are being closed. */
static struct crowds crowds;
static int threads, idle;

static void append(struct closing *one) {
  one->next = NULL;
  *last = one;
  last = &one->next;
}

static int count(const struct closing *list, uid_t uid) {
  int of_user = 0;

  for (; list; list = list->next) of_user += list->uid == uid;
  return of_user;
}

/* The first whose turn it is; NULL if there is none. */
static struct closing *begin(void) {
  for (struct closing **link = &waiting; *link; link = &(*link)->next) {
    struct closing *one = *link;
    if (count(begun, one->uid) >= MOST_OF_A_USER) continue;
    *link = one->next;
    if (last == &one->next) last = link;
    one->next = begun;
    begun = one;
    return one;
  }
  return NULL;
}

static void end(const struct closing *one) {
  struct closing **link = &begun;

  while (*link != one) link = &(*link)->next;
  *link = one->next;
}

/* The next, sooner or later; NULL where there are enough threads that wait. */
static struct closing *next(void) {
  struct closing *one = begin();
  if (one || idle >= MOST_IDLE) return one;

  idle++;
  while (!given) pthread_cond_wait(&called, &mutex);
  one = given;
  given = one->next_given;
  return one;
}

static void *serve(void *argument) {
  struct closing *one = argument;

  prctl(PR_SET_NAME, "knockify-close");
  while (one) {
    close(one->fd);
    pthread_mutex_lock(&mutex);
    end(one);
    knk_crowd(&crowds, one->uid)->here--;
    free(one);
    one = next();
    threads -= one ? 0 : 1;
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

/* False where there can be no thread for it. */
static bool give(struct closing *one) {
  if (idle == 0) {
    if (threads >= MOST || knk_thread(serve, one) < 0) return false;
    threads++;
    return true;
  }
  idle--;
  one->next_given = given;
  given = one;
  pthread_cond_signal(&called);
  return true;
}

int knk_releasing(uid_t uid) {
  pthread_mutex_lock(&mutex);
  const struct crowd *crowd = knk_crowd(&crowds, uid);
  int of_user = crowd ? crowd->here : 0;
  pthread_mutex_unlock(&mutex);
  return of_user;
}

/* False where memory is out. */
static bool release(int fd, uid_t uid) {
  struct closing *one = calloc(1, sizeof(*one));
  if (!one) return false;

  one->uid = uid;
  one->fd = fd;
  pthread_mutex_lock(&mutex);
  struct crowd *crowd = knk_crowd(&crowds, uid);
  if (!crowd) {
    pthread_mutex_unlock(&mutex);
    free(one);
    return false;
  }
  crowd->here++;
  append(one);
  one = begin();
  if (one && !give(one)) {
    /* Whoever is done with another goes on with it, or the next release does. */
    end(one);
    if (!waiting) last = &one->next;
    one->next = waiting;
    waiting = one;
  }
  pthread_mutex_unlock(&mutex);
  return true;
}

void knk_release(int fd) {
  uid_t uid;
  bool handed = knk_is_handed(fd, &uid);

  knk_handed_back(fd);
  if (!handed || !release(fd, uid)) close(fd);
}

void knk_release_connection(int fd) {
  /* Whoever is at its other end need not wait. */
  shutdown(fd, SHUT_RDWR);
  knk_handed_over(fd, fd);
  knk_release(fd);
}
