/* Connects that are answered promptly: like an earlier one but for socket and destination, they need no decision. What
 * was decided then is taught; the answer, and the settling of a connect that went as it should, take no JavaScript.
 * Whatever is unusual in the least is left to that, which begins anew. */
#ifndef KNOCKIFY_PROMPT_H
#define KNOCKIFY_PROMPT_H

#include "channel.h"
#include "lessons.h"
#include "prompt_arm.h"

#include <stdbool.h>
#include <stdint.h>

/* What is left to JavaScript: a client, with its first datagram or with that after an answered connect. */
struct knk_left {
  int32_t client;
  int32_t pid;
  int32_t uid;
  int32_t gid;
  /* As knk_receive returns it. */
  int32_t length;
  /* The first descriptor is to be released first: an answer was begun. */
  int32_t begun;
  /* What its answer may be taught by. 0: nothing can be. */
  uint32_t question;
  /* 1: its connect was answered; what follows tells how. */
  int32_t answered;
  int32_t socket;
  uint32_t isn;
  uint32_t log_level;
  int32_t count;
  int32_t descriptors[KNK_MOST_DESCRIPTORS];
};
_Static_assert(sizeof(struct knk_left) == 48 + 4 * KNK_MOST_DESCRIPTORS, "mirrored in ts/sys/prompt.ts");

struct prompt;

/* NULL where memory or descriptors are out. */
struct prompt *knk_prompt_make(const struct knk_places *places);
/* Becomes readable when there is something to hear. */
int knk_prompt_descriptor(const struct prompt *prompt);
/* The question, if it is the last, is to be answered so whenever it and its user are the same: all destinations, this
 * secret, no payload protection. Taught too much, it forgets everything first. No secret can be read from what
 * is kept without the settings that it is for. */
void knk_prompt_teach(struct prompt *prompt, uint32_t question, uint32_t log_level, const uint8_t secret[KNK_SECRET]);
/* What was taught does not count any more. */
void knk_prompt_forget(struct prompt *prompt);
/* How many of a user's clients are here. One is also who is gone but whose socket is not closed yet, since that takes long. */
int knk_prompt_clients(struct prompt *prompt, uint32_t uid);
/* How many of a user's clients are with JavaScript, from now on. 0 or -ENOMEM. */
int knk_prompt_elsewhere(struct prompt *prompt, uint32_t uid, int clients);
/* How many connects were answered. */
uint64_t knk_prompt_answered(const struct prompt *prompt);
/* Clients that wait at the listener. 1 with one that is left, 0 where there are no more, or -errno. Of each user there are
 * no more than `most` at a time, so counted, here and with JavaScript; others are left before they have said anything. */
int knk_prompt_accept(struct prompt *prompt, int listener, int most, struct knk_datagram *datagram, struct knk_left *left);
/* What clients say that were accepted, or whose connects were answered. 1 with one that is left, 0 where there are no more. */
int knk_prompt_hear(struct prompt *prompt, struct knk_datagram *datagram, struct knk_left *left);
/* 1 with a client that has said nothing for so long since it was accepted or answered, 0 where there is none. */
int knk_prompt_overdue(struct prompt *prompt, int milliseconds, struct knk_left *left);
/* The same two as they are called whenever there is something to do; false where a client is left, which the next call of
 * knk_prompt_left returns. As long as there is one, nothing else is done. */
bool knk_prompt_attend(struct prompt *prompt, int listener, int most);
/* 1 with the client that was left, 0 where there is none. */
int knk_prompt_left(struct prompt *prompt, struct knk_datagram *datagram, struct knk_left *left);
/* Its clients lose their connections. */
void knk_prompt_close(struct prompt *prompt);

#endif
