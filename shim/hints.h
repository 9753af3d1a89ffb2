// Explaining a stall: a program that waits for an answer before it has written the protected bytes waits for ever.
#ifndef KNOCKIFY_HINTS_H
#define KNOCKIFY_HINTS_H

#include <stdint.h>

int64_t monotonic_ns(void);

// When a connect that is delayed now should be explained.
int64_t hint_time(void);
void hints_schedule(int64_t at_ns);

// Explains what is due and returns the nanoseconds to the next, or -1.
int64_t hints_due(void);

#endif
