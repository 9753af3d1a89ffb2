#define _GNU_SOURCE
#include "prompt_hands.h"

#include "closing.h"
#include "hands.h"
#include "sys.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

struct arming {
  struct knk_places places;
  uint32_t secret[16];
  struct message_connect message;
  struct message_verdict verdict;
  int32_t client;
  int32_t begun;
  uint32_t isn;
};

bool knk_is_trusted(uid_t uid) { return uid == 0 || uid == geteuid(); }

static int by_hand(const struct knk_work *work, int fd, void *bytes, int length) {
  const int32_t numbers[KNK_NUMBERS] = {fd};

  return knk_by_hand(work, numbers, bytes, length);
}

/* The main thread gets on only later: the client need not wait for that. */
static int arm(const int32_t *numbers, void *bytes, int length) {
  struct arming *arming = bytes;

  (void)length;
  arming->isn = knk_prompt_arm(&arming->places, arming->secret, &arming->message, numbers[0], &arming->begun);
  if (arming->isn && knk_hand_commits()) knk_send(arming->client, &arming->verdict, sizeof(arming->verdict));
  return 0;
}

static int late_arm(const int32_t *numbers, void *bytes, int length) {
  struct knk_return taking = {.marks = ((struct arming *)bytes)->places.marks};

  (void)length;
  return knk_take_back(numbers[0], &taking);
}

static bool went_well(int fd, struct knk_settlement *settled) {
  if (knk_settle(fd, settled) != 0) return false;
  if (settled->mark.phase != KNOCK_ARMED || settled->mark.isn != settled->isn) return true;
  bool slipped = settled->mark.seen == 0 && settled->state == TCP_ESTABLISHED;
  return settled->mark.refused == KNOCK_REFUSED_NOT && !slipped;
}

static int settle(const int32_t *numbers, void *bytes, int length) {
  (void)length;
  return went_well(numbers[0], bytes) ? 0 : 1;
}

uint32_t knk_arm_for(uid_t uid, const struct knk_places *places, const uint32_t *secret,
                     const struct message_connect *message, int fd, int client, const struct message_verdict *verdict,
                     int32_t *begun) {
  if (knk_is_trusted(uid) && !knk_is_in_hand(fd)) {
    uint32_t isn = knk_prompt_arm(places, secret, message, fd, begun);
    /* One that does not take its answer is found at its end. */
    if (isn) knk_send(client, verdict, sizeof(*verdict));
    return isn;
  }
  const struct knk_work work = {.call = arm, .late = late_arm, .uid = uid};
  struct arming arming = {.places = *places, .message = *message, .verdict = *verdict, .client = client};
  memcpy(arming.secret, secret, sizeof(arming.secret));
  if (by_hand(&work, fd, &arming, sizeof(arming)) != 0) arming.isn = 0;
  else *begun = arming.begun;
  explicit_bzero(arming.secret, sizeof(arming.secret));
  return arming.isn;
}

bool knk_settle_for(uid_t uid, const struct knk_places *places, uint32_t isn, int fd) {
  struct knk_settlement settlement = {.marks = places->marks, .isn = isn};
  const struct knk_work work = {.call = settle, .uid = uid, .closes = true};

  if (!knk_is_trusted(uid) || knk_is_in_hand(fd)) return by_hand(&work, fd, &settlement, sizeof(settlement)) == 0;
  if (!went_well(fd, &settlement)) return false;
  if (knk_close_unless_lingering(fd) == 1) knk_release(fd);
  return true;
}
