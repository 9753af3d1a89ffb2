#include "crowds.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MORE = 64 };

struct crowd *knk_crowd(struct crowds *crowds, uid_t uid) {
  struct crowd *unused = NULL;

  for (int i = 0; i < crowds->room; i++) {
    struct crowd *crowd = &crowds->all[i];
    bool used = crowd->here > 0 || crowd->elsewhere > 0;
    if (used && crowd->uid == uid) return crowd;
    if (!used && !unused) unused = crowd;
  }
  if (!unused) {
    struct crowd *larger = realloc(crowds->all, (size_t)(crowds->room + MORE) * sizeof(*larger));
    if (!larger) return NULL;
    crowds->all = larger;
    unused = &larger[crowds->room];
    memset(unused, 0, MORE * sizeof(*unused));
    crowds->room += MORE;
  }
  unused->uid = uid;
  return unused;
}
