/* What is done with the sockets of connects that are answered promptly: by hands, but at once for root and for the user that the
 * control process runs as. The way to a hand and back takes as much of the processors as all the rest, and both can stop the
 * control process anyway. */
#ifndef KNOCKIFY_PROMPT_HANDS_H
#define KNOCKIFY_PROMPT_HANDS_H

#include "prompt_arm.h"
#include "sequences.h"

#include <stdbool.h>
#include <sys/types.h>

bool knk_is_trusted(uid_t uid);
/* Arms it as knk_prompt_arm does, and then sends the verdict to the client; also 0, and nothing begun, where nothing is heard of
 * the hand: whoever begins anew is told why. */
uint32_t knk_arm_for(uid_t uid, const struct knk_places *places, const uint32_t *secret,
                     const struct message_connect *message, int fd, int client, const struct message_verdict *verdict,
                     int32_t *begun);
/* Settles it as knk_settle does, and closes it, now or soon, if it was connected as it should be. False where it was not, or
 * nothing is heard of the hand. */
bool knk_settle_for(uid_t uid, const struct knk_places *places, uint32_t isn, int fd);

#endif
