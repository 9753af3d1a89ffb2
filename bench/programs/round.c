/* The MD5 round of a token as the C compiler makes it: what a verdict can't be quicker than.
 *
 *   round COUNT
 *
 * A line for each measurement: nanoseconds of a round.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "token.h"

/* Few: what the scheduler does meanwhile must not be measured, or only by few of the measurements. */
enum { ROUNDS = 100 };

/* Nothing is computed that nobody wants. */
static volatile __u32 wanted;

int main(int argc, char **argv) {
  __u32 secret[16], address[4] = {1};
  if (argc != 2) errx(2, "COUNT");

  for (int i = 0; i < 16; i++) secret[i] = (__u32)rand();
  for (long i = 0; i < atol(argv[1]); i++) {
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    /* One after the other, as the kernel's test runs of a BPF program are; none waits for the one before. */
    for (__u32 j = 0; j < ROUNDS; j++) wanted = knock_authenticator(secret, address, j, 80, 0);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.2f\n", ((double)(ended.tv_sec - begun.tv_sec) * 1e9 + (double)(ended.tv_nsec - begun.tv_nsec)) / ROUNDS);
  }
  return 0;
}
