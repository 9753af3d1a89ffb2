#define _GNU_SOURCE
#include "debts.h"

#include "sys.h"

#include <stddef.h>
#include <stdint.h>

/* Users with debts at a time; beyond that, the one who owes least is forgotten. */
enum { MOST_DEBTORS = 64 };
/* What a user may owe, and what is forgiven of it each millisecond. Microseconds. */
enum { CREDIT = 1000000, FORGIVEN = 20 };

struct debtor {
  uid_t uid;
  int64_t owed;
  /* Milliseconds. */
  int64_t since;
};

static struct debtor debtors[MOST_DEBTORS];

static int64_t owed(const struct debtor *debtor) {
  int64_t left = debtor->owed - (knk_coarse_now() - debtor->since) * FORGIVEN;

  return left > 0 ? left : 0;
}

static struct debtor *debtor_of(uid_t uid) {
  for (struct debtor *one = debtors; one < debtors + MOST_DEBTORS; one++)
    if (one->uid == uid && owed(one) > 0) return one;
  return NULL;
}

void knk_debts_charge(uid_t uid, int64_t microseconds) {
  struct debtor *debtor = debtor_of(uid);
  int64_t before = debtor ? owed(debtor) : 0;

  if (!debtor) {
    debtor = debtors;
    for (struct debtor *one = debtors; one < debtors + MOST_DEBTORS; one++)
      if (owed(one) < owed(debtor)) debtor = one;
  }
  *debtor = (struct debtor){uid, before + microseconds, knk_coarse_now()};
}

bool knk_debts_exceeded(uid_t uid) {
  const struct debtor *debtor = debtor_of(uid);

  return debtor && owed(debtor) >= CREDIT;
}
