/* The MD5 round of a token as the C compiler makes it: what a verdict can't be quicker than.
 *
 *   round COUNT
 *
 * A line for each measurement: nanoseconds of a round, of a round that waits for the one before, and of an addition that does,
 * which takes one cycle of the processor.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "token.h"

/* Few: what the scheduler does meanwhile must not be measured, or only by few of the measurements. */
enum { ROUNDS = 100, ADDITIONS = 10000 };

/* Nothing is computed that nobody wants. */
static volatile __u32 wanted;

/* Nanoseconds. */
static double now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argc, char **argv) {
  __u32 secret[16], address[4] = {1};
  if (argc != 2) errx(2, "COUNT");

  for (int i = 0; i < 16; i++) secret[i] = (__u32)rand();
  for (long i = 0; i < atol(argv[1]); i++) {
    double begun = now();
    /* One after the other, as the kernel's test runs of a BPF program are; none waits for the one before. */
    for (__u32 j = 0; j < ROUNDS; j++) wanted = knock_authenticator(secret, address, j, 80, 0);
    double apart = now();
    __u32 chain = 0;
    for (__u32 j = 0; j < ROUNDS; j++) chain = knock_authenticator(secret, address, chain, 80, 0);
    double chained = now();
    for (int j = 0; j < ADDITIONS / 100; j++) __asm__ volatile(".rept 100\n add $1, %0\n .endr" : "+r"(chain));
    double added = now();
    wanted = chain;
    printf("%.2f %.2f %.4f\n", (apart - begun) / ROUNDS, (chained - apart) / ROUNDS, (added - chained) / ADDITIONS);
  }
  return 0;
}
