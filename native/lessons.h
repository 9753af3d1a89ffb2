/* What was decided about settings, for when they come again. Secrets are sealed with a digest of the settings, so that they
 * can't be read from memory once the settings, which hold them, are wiped. */
#ifndef KNOCKIFY_LESSONS_H
#define KNOCKIFY_LESSONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KNK_SECRET = 64, KNK_TAG = 64 };

/* Stands for settings of a process of a user. */
struct knk_question {
  /* What they are known by, and what seals their secret. */
  uint8_t tag[KNK_TAG];
  uint8_t seal[KNK_SECRET];
};

struct knk_answer {
  uint32_t log_level;
  uint32_t secret[KNK_SECRET / 4];
};

struct lessons;

/* NULL where memory is out or the digest is not to be had. */
struct lessons *knk_lessons_make(void);
/* False where the digest fails. */
bool knk_lessons_ask(const struct lessons *lessons, uint32_t uid, const void *settings, size_t length,
                     struct knk_question *question);
/* False where nothing is known. */
bool knk_lessons_find(const struct lessons *lessons, const struct knk_question *question, struct knk_answer *answer);
/* Taught too much, it forgets everything first. */
void knk_lessons_learn(struct lessons *lessons, const struct knk_question *question, uint32_t log_level,
                       const uint8_t secret[KNK_SECRET]);
void knk_lessons_forget(struct lessons *lessons);
void knk_lessons_close(struct lessons *lessons);

#endif
