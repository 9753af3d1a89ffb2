/* For how long each user's hands were waited for of late: whoever lets go of a socket's lock in time, again and again, would keep
 * everybody waiting all the same. */
#ifndef KNOCKIFY_DEBTS_H
#define KNOCKIFY_DEBTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

void knk_debts_charge(uid_t uid, int64_t microseconds);
bool knk_debts_exceeded(uid_t uid);

#endif
