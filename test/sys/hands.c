/* native/hands.c and native/closing.c, without a kernel that makes anybody wait: what hangs here reads from a pipe. Says "done"
 * where all is as it should be. */
#define _GNU_SOURCE
#include "../../native/behind.h"
#include "../../native/closing.h"
#include "../../native/handed.h"
#include "../../native/hands.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { AT_A_TIME = 4, CULPRIT = 1000, OTHER, THIRD, ROUNDS = 2000, THREADS = 4, PATIENCE = 20 };

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) {                                              \
      printf("line %d: " #condition " is not so\n", __LINE__);       \
      exit(1);                                                       \
    }                                                                \
  } while (0)

static int ends[2];
static atomic_int lates;

static int add(const int32_t *n, void *bytes, int length) {
  for (int i = 0; i < length; i++) ((char *)bytes)[i]++;
  return fcntl(n[0], F_GETFD) < 0 ? -1 : n[1];
}

static int hang(const int32_t *n, void *bytes, int length) {
  char byte;

  add(n, bytes, length);
  return (int)read(ends[0], &byte, 1);
}

/* What the call left. */
static int late(const int32_t *n, void *bytes, int length) {
  CHECK(fcntl(n[0], F_GETFD) >= 0 && length == 3 && memcmp(bytes, "bcd", 3) == 0);
  lates++;
  return 0;
}

static int by_hand(uid_t uid, knk_call *call, int fd, void *bytes, int length) {
  const struct knk_work work = {.call = call, .late = late, .uid = uid};
  const int32_t numbers[KNK_NUMBERS] = {fd, 7};

  return knk_by_hand(&work, numbers, bytes, length);
}

static int some(void) { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }

static int count(const char *path) {
  DIR *directory = opendir(path);
  int entries = -3;

  while (readdir(directory)) entries++;
  closedir(directory);
  return entries;
}

static int descriptors(void) { return count("/proc/self/fd"); }

static void await(int (*now)(void), int wanted) {
  time_t end = time(NULL) + PATIENCE;

  while (now() != wanted && time(NULL) < end) usleep(1000);
  CHECK(now() == wanted);
}

static void results(void) {
  char bytes[] = "abc";
  int fd = some();

  CHECK(by_hand(OTHER, add, fd, bytes, 3) == 7 && strcmp(bytes, "bcd") == 0);
  CHECK(by_hand(OTHER, add, 9999, bytes, 3) == -9 && strcmp(bytes, "bcd") == 0);
  close(fd);
}

/* There is always one for the duplicate. */
static void with_no_descriptor_left(void) {
  struct rlimit before, few = {64, 0};
  int fds[64], count = 0, fd = some();

  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
  few.rlim_max = before.rlim_max;
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  while ((fds[count] = dup(fd)) >= 0) count++;
  for (int i = 0; i < 3; i++) CHECK(by_hand(OTHER, add, fd, NULL, 0) == 7);
  CHECK(dup(fd) < 0);
  for (int i = 0; i < count; i++) close(fds[i]);
  close(fd);
  setrlimit(RLIMIT_NOFILE, &before);
}

static void those_that_hang(void) {
  int fds[AT_A_TIME], free = some(), before = descriptors();

  for (int i = 0; i < AT_A_TIME; i++) {
    char bytes[] = "abc";
    fds[i] = some();
    CHECK(by_hand(CULPRIT, hang, fds[i], bytes, 3) == KNK_HELD && strcmp(bytes, "abc") == 0);
    CHECK(knk_hands_behind() == i + 1 && knk_is_in_hand(fds[i]) && !knk_is_in_hand(free));
    CHECK(by_hand(OTHER, add, fds[i], bytes, 3) == KNK_HELD && strcmp(bytes, "abc") == 0);
  }
  CHECK(by_hand(CULPRIT, add, free, NULL, 0) == KNK_TOO_MANY);
  CHECK(by_hand(OTHER, add, free, NULL, 0) == 7);
  CHECK(descriptors() == before + 2 * AT_A_TIME && lates == 0);

  CHECK(write(ends[1], "1234", AT_A_TIME) == AT_A_TIME);
  await(knk_hands_behind, 0);
  CHECK(lates == AT_A_TIME && !knk_is_in_hand(fds[0]));
  CHECK(by_hand(OTHER, add, fds[0], NULL, 0) == 7);
  for (int i = 0; i < AT_A_TIME; i++) close(fds[i]);
  CHECK(descriptors() == before);
  close(free);
}

/* Whoever lets go each time has been waited for nearly a second already. */
static void those_that_let_go(void) {
  int fd = some(), result = by_hand(CULPRIT, add, fd, NULL, 0);

  CHECK(result == 7 || result == KNK_TOO_LONG);
  if (result == 7) {
    char bytes[] = "abc";
    CHECK(by_hand(CULPRIT, hang, fd, bytes, 3) == KNK_HELD && write(ends[1], "1", 1) == 1);
    await(knk_hands_behind, 0);
  }
  CHECK(by_hand(CULPRIT, add, fd, NULL, 0) == KNK_TOO_LONG);
  CHECK(by_hand(OTHER, add, fd, NULL, 0) == 7);
  close(fd);
}

static void those_that_close(void) {
  const struct knk_work work = {.call = add, .uid = OTHER, .closes = true};
  int32_t numbers[KNK_NUMBERS] = {some(), 1};

  CHECK(knk_by_hand(&work, numbers, NULL, 0) == 1 && fcntl(numbers[0], F_GETFD) >= 0);
  numbers[1] = 0;
  CHECK(knk_by_hand(&work, numbers, NULL, 0) == 0 && fcntl(numbers[0], F_GETFD) < 0);
}

static void *again_and_again(void *user) {
  for (int i = 0; i < ROUNDS; i++) {
    char bytes[] = "abc";
    int fd = some();
    CHECK(by_hand((uid_t)(uintptr_t)user, add, fd, bytes, 3) == 7 && strcmp(bytes, "bcd") == 0);
    knk_release(fd);
  }
  return NULL;
}

static void at_once(void) {
  pthread_t threads[THREADS];

  for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, again_and_again, (void *)(THIRD + i));
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* The last close of a socket with something to send takes as long as SO_LINGER says. */
static int lingering(int peer) {
  const struct linger linger = {1, 2};
  struct sockaddr_storage address;
  socklen_t size = sizeof(address);
  static char much[1 << 16];
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

  CHECK(getsockname(peer, (struct sockaddr *)&address, &size) == 0);
  connect(fd, (struct sockaddr *)&address, size);
  usleep(10000);
  while (send(fd, much, sizeof(much), MSG_NOSIGNAL) > 0) continue;
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
  return fd;
}

static void those_that_linger(int before) {
  int listener = some(), connections[] = {900, 901}, fds[2 * AT_A_TIME];

  CHECK(listen(listener, 16) == 0);
  for (int i = 0; i < 2; i++) {
    connections[i] = fcntl(listener, F_DUPFD_CLOEXEC, connections[i]);
    knk_handed_by(connections[i], i == 0 ? CULPRIT : OTHER);
  }
  for (int i = 0; i < 2 * AT_A_TIME; i++) knk_handed_over(connections[0], fds[i] = lingering(listener));
  int other = some();
  knk_handed_over(connections[1], other);
  int held = descriptors();
  for (int i = 0; i < 2 * AT_A_TIME; i++) knk_release(fds[i]);
  knk_release(other);
  await(descriptors, held - 1 - AT_A_TIME);
  uid_t uid;
  CHECK(!knk_is_handed(other, &uid));
  close(listener);
  for (int i = 0; i < 2; i++) close(connections[i]);
  await(descriptors, before);
}

int main(void) {
  CHECK(pipe2(ends, O_CLOEXEC) == 0);
  results();
  int before = descriptors();
  with_no_descriptor_left();
  those_that_hang();
  those_that_let_go();
  those_that_close();
  at_once();
  await(descriptors, before);
  those_that_linger(before);
  puts("done");
  return 0;
}
