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

enum { ROUNDS = 10000 };

int main(int argc, char **argv) {
  __u32 secret[16], address[4] = {1}, tsval = 0;
  if (argc != 2) errx(2, "COUNT");

  for (int i = 0; i < 16; i++) secret[i] = (__u32)rand();
  for (long i = 0; i < atol(argv[1]); i++) {
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    /* Each needs the one before, as a packet's verdict is waited for. */
    for (int j = 0; j < ROUNDS; j++) tsval = knock_authenticator(secret, address, tsval, 80, 0);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.2f\n", ((double)(ended.tv_sec - begun.tv_sec) * 1e9 + (double)(ended.tv_nsec - begun.tv_nsec)) / ROUNDS);
  }
  return tsval == 0;
}
