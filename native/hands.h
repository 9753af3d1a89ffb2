/* Hands: threads that do what is to be done with descriptors that clients have handed over.
 *
 * A socket's lock can be held for as long as its owner likes: the kernel holds it while it copies from the program's memory,
 * which may be a file of a file system in user space. Whoever asks the kernel about that socket then waits (in
 * __lock_sock), and no signal ends that, not even SIGKILL. So a hand asks, and the main thread waits for the hand, for a
 * short time. Then it gives up, and the hand stays behind with what it works on: a duplicate of the descriptor, and a copy
 * of the bytes. Once it gets loose it takes back what it did, and ends.
 *
 * Nothing else is done with a socket as long as a hand is behind on it, so that no two do something with it at a time. */
#ifndef KNOCKIFY_HANDS_H
#define KNOCKIFY_HANDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Why there is no result. No errno is like them; ts/sys/error.ts has the texts. */
enum knk_unheard {
  /* The hand stays behind, or did before. */
  KNK_HELD = -1001,
  /* As many of the user's hands, or of all users', are behind as may be. Nothing was done. */
  KNK_TOO_MANY = -1002,
  /* The user's hands were waited for too long of late. Nothing was done. */
  KNK_TOO_LONG = -1003,
  /* There can be no thread. Nothing was done. */
  KNK_NO_HAND = -1004,
};

enum { KNK_NUMBERS = 4 };

/* What is to be done. The first number is the descriptor. */
typedef int knk_call(const int32_t *numbers, void *bytes, int length);

/* What a hand does for a user. */
struct knk_work {
  knk_call *call;
  /* Done after it, with what it left in the bytes, if nobody waits for it any more; or NULL. The socket may have been half
   * way then to where nobody wants it any more. */
  knk_call *late;
  uid_t uid;
  /* With a result of 0 the hand closes the descriptor itself, not only its duplicate: that may take as long as the user likes,
   * too. With any other, it stays who asked's. */
  bool closes;
};

/* May be called before the first of them, for their work not to fail for want of a descriptor. */
void knk_hands_prepare(void);
/* The call's result, with the bytes as it left them; or one of knk_unheard, and then they are as they were. */
int knk_by_hand(const struct knk_work *work, const int32_t numbers[KNK_NUMBERS], void *bytes, int length);
/* For a call, before it does what others see: false where nobody waits for it any more. Otherwise it is waited for however long it
 * takes, and so must not take long. */
bool knk_hand_commits(void);
/* Whether a hand is behind on it: then nothing else may be done with it. */
bool knk_is_in_hand(int fd);

#endif
