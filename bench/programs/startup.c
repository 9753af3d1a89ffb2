/* How long a program takes from being started to its end, with a library preloaded and without, in turns.
 *
 *   startup LIBRARY COUNT PROGRAM
 *
 * A line a pair: microseconds with, microseconds without.
 */
#define _GNU_SOURCE
#include <err.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static double once(char *program, char *preload) {
  char *argv[] = {program, NULL}, *environment[] = {preload, NULL};
  struct timespec begun, ended;
  int status;
  pid_t pid;

  clock_gettime(CLOCK_MONOTONIC, &begun);
  if (posix_spawn(&pid, program, NULL, NULL, argv, environment) != 0) errx(1, "cannot start %s", program);
  waitpid(pid, &status, 0);
  clock_gettime(CLOCK_MONOTONIC, &ended);
  if (status != 0) errx(1, "%s ended with %d", program, status);
  return (double)(ended.tv_sec - begun.tv_sec) * 1e6 + (double)(ended.tv_nsec - begun.tv_nsec) / 1e3;
}

int main(int argc, char **argv) {
  char preload[4096];
  if (argc != 4) errx(2, "LIBRARY COUNT PROGRAM");

  snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", argv[1]);
  for (long i = 0; i < atol(argv[2]); i++) {
    double with = once(argv[3], preload);
    printf("%.1f %.1f\n", with, once(argv[3], "PLAIN=1"));
  }
  return 0;
}
