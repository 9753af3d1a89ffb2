/* What 6.1's verifier wants of the stack where CAP_PERFMON is missing (later ones don't): once a number of which it knows
 * something was put at the start of a slot, of 8 bytes, nothing less than the whole slot may be written. What is on the
 * stack has 8 bytes, therefore, or is written from its end to its start, or in pieces of 8 bytes, or the verifier is made to
 * forget. What the compiler puts there by itself has 4 bytes where a number fits: barrier_var() hides that it does. */
#ifndef KNOCKIFY_STACK_H
#define KNOCKIFY_STACK_H

#include <bpf/bpf_helpers.h>

/* Begins at the start of a slot, so that copies of it are in pieces of 8 bytes. */
#define SLOTS __attribute__((aligned(8)))

/* The same value, of which the verifier knows nothing any more. */
static __always_inline __u64 unknown(__u64 value) {
  asm volatile("%0 = -%0\n\t%0 = -%0" : "+r"(value));
  return value;
}

#endif
