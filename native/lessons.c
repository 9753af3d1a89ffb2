#define _GNU_SOURCE
#include "lessons.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { MOST_LESSONS = 64, KEY = 32 };

struct lesson {
  uint8_t tag[KNK_TAG];
  uint8_t sealed[KNK_SECRET];
  uint32_t log_level;
};

struct lessons {
  EVP_MD *sha512;
  uint8_t key[KEY];
  size_t count;
  struct lesson all[MOST_LESSONS];
};

struct lessons *knk_lessons_make(void) {
  struct lessons *lessons = calloc(1, sizeof(*lessons));
  if (!lessons) return NULL;

  lessons->sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
  if (lessons->sha512 && getrandom(lessons->key, KEY, 0) == KEY) return lessons;
  knk_lessons_close(lessons);
  return NULL;
}

/* SHA-512 of the key, what it is for, the user and the settings. */
static bool digest(const struct lessons *lessons, uint8_t purpose, uint32_t uid, const void *settings, size_t length,
                   uint8_t result[64]) {
  EVP_MD_CTX *context = EVP_MD_CTX_new();

  bool done = context && EVP_DigestInit_ex(context, lessons->sha512, NULL) &&
              EVP_DigestUpdate(context, lessons->key, KEY) && EVP_DigestUpdate(context, &purpose, sizeof(purpose)) &&
              EVP_DigestUpdate(context, &uid, sizeof(uid)) && EVP_DigestUpdate(context, settings, length) &&
              EVP_DigestFinal_ex(context, result, NULL);
  /* Wipes what it held. */
  EVP_MD_CTX_free(context);
  return done;
}

bool knk_lessons_ask(const struct lessons *lessons, uint32_t uid, const void *settings, size_t length,
                     struct knk_question *question) {
  return digest(lessons, 'T', uid, settings, length, question->tag) &&
         digest(lessons, 'S', uid, settings, length, question->seal);
}

bool knk_lessons_find(const struct lessons *lessons, const struct knk_question *question, struct knk_answer *answer) {
  uint8_t *secret = (uint8_t *)answer->secret;

  for (size_t i = 0; i < lessons->count; i++) {
    const struct lesson *lesson = &lessons->all[i];
    if (memcmp(lesson->tag, question->tag, KNK_TAG) != 0) continue;
    for (int j = 0; j < KNK_SECRET; j++) secret[j] = lesson->sealed[j] ^ question->seal[j];
    answer->log_level = lesson->log_level;
    return true;
  }
  return false;
}

void knk_lessons_learn(struct lessons *lessons, const struct knk_question *question, uint32_t log_level,
                       const uint8_t secret[KNK_SECRET]) {
  if (lessons->count == MOST_LESSONS) knk_lessons_forget(lessons);
  struct lesson *lesson = &lessons->all[lessons->count++];
  memcpy(lesson->tag, question->tag, KNK_TAG);
  for (int j = 0; j < KNK_SECRET; j++) lesson->sealed[j] = secret[j] ^ question->seal[j];
  lesson->log_level = log_level;
}

void knk_lessons_forget(struct lessons *lessons) {
  explicit_bzero(lessons->all, sizeof(lessons->all));
  lessons->count = 0;
}

void knk_lessons_close(struct lessons *lessons) {
  EVP_MD_free(lessons->sha512);
  explicit_bzero(lessons, sizeof(*lessons));
  free(lessons);
}
