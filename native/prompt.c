#define _GNU_SOURCE
#include "prompt.h"

#include "clients.h"
#include "closing.h"
#include "hands.h"
#include "prompt_hands.h"
#include "sys.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MOST_EVENTS = 64, MOST_ACCEPTS = 32, ALONE = 4 };

struct prompt {
  struct knk_places places;
  struct clients clients;
  struct lessons *lessons;
  /* What was asked last that was not known, and its number; 0: nothing that could be taught. */
  uint32_t question;
  uint32_t questions;
  struct knk_question asked;
  uint64_t answered;
  /* How often in a row nobody else waited, or was not looked for, when somebody was accepted. */
  unsigned int alone;
  /* Nobody has taken it yet. */
  bool has_left;
  struct knk_left left;
  struct knk_datagram datagram;
  uint8_t data[MAX_MESSAGE_SIZE];
};

static struct message_verdict verdict_of(uint8_t action, uint32_t log_level, const struct message_connect *message) {
  struct message_verdict verdict = {
      .header = {.version = PROTOCOL_VERSION, .id = MESSAGE_VERDICT, .size = sizeof(verdict)},
      .action = action,
      .log_level = (uint8_t)log_level,
      .peer_size = message ? message->peer_size : 0,
  };

  if (message) memcpy(verdict.peer, message->peer, sizeof(verdict.peer));
  return verdict;
}

/* What is left to JavaScript: a client that is in the set, or not yet. */
static int leave(struct prompt *prompt, const struct knk_datagram *datagram, struct knk_left *left) {
  const struct client *client = knk_client(&prompt->clients, left->client);

  if (client) {
    left->answered = client->state == ANSWERED;
    left->socket = client->socket;
    left->isn = client->isn;
    left->log_level = client->log_level;
    knk_client_dismiss(&prompt->clients, left->client);
  }
  left->count = datagram ? datagram->count : 0;
  for (int i = 0; i < left->count; i++) left->descriptors[i] = datagram->descriptors[i];
  return 1;
}

/* All but the descriptors. */
static void describe(struct knk_left *left, int fd, const struct ucred *identity, int length) {
  memset(left, 0, offsetof(struct knk_left, descriptors));
  left->client = fd;
  left->pid = identity->pid;
  left->uid = (int32_t)identity->uid;
  left->gid = (int32_t)identity->gid;
  left->length = length;
}

/* The ISN of the connect that was armed and answered, or 0 where JavaScript has to answer. */
static uint32_t arm(struct prompt *prompt, const struct message_connect *message, struct client *client,
                    struct knk_left *left) {
  struct knk_question *asked = &prompt->asked;
  struct client silent = {.state = SILENT, .identity = client->identity};
  struct knk_answer known;

  prompt->question = 0;
  if (!knk_lessons_ask(prompt->lessons, (uint32_t)left->uid, message + 1, message->settings_length, asked)) return 0;
  if (!knk_lessons_find(prompt->lessons, asked, &known)) {
    if (++prompt->questions == 0) prompt->questions = 1;
    left->question = prompt->question = prompt->questions;
    return 0;
  }
  /* First: whoever is answered is to be heard. */
  const struct client *here = knk_client(&prompt->clients, left->client);
  if ((here && here->state == SILENT) || knk_client_admit(&prompt->clients, left->client, silent)) {
    struct message_verdict verdict = verdict_of(ACTION_PROCEED, known.log_level, message);
    client->isn = knk_arm_for(client->identity.uid, &prompt->places, known.secret, message, client->socket,
                              left->client, &verdict, &left->begun);
  }
  client->log_level = known.log_level;
  explicit_bzero(&known, sizeof(known));
  explicit_bzero(asked, sizeof(*asked));
  return client->isn;
}

/* False where JavaScript has to answer. */
static bool answer(struct prompt *prompt, const struct knk_datagram *datagram, struct knk_left *left) {
  const struct message_connect *message = knk_read_connect(datagram->data, left->length);
  struct client client = {.state = ANSWERED, .identity = {left->pid, (uid_t)left->uid, (gid_t)left->gid}};
  if (!message || datagram->count != 1) return false;

  client.socket = datagram->descriptors[0];
  if (!arm(prompt, message, &client, left)) return false;
  client.since = knk_coarse_now();
  *knk_client(&prompt->clients, left->client) = client;
  prompt->answered++;
  /* A secret is in it. */
  explicit_bzero(datagram->data, (size_t)left->length);
  return true;
}

/* -EAGAIN where nobody waits; else as knk_prompt_accept. */
static int accept_one(struct prompt *prompt, int listener, int most, struct knk_datagram *datagram, struct knk_left *left) {
  struct client client = {.state = SILENT, .since = knk_coarse_now()};

  int fd = knk_accept(listener, &client.identity);
  if (fd < 0) return fd;
  describe(left, fd, &client.identity, -EAGAIN);
  if (!knk_clients_allow(&prompt->clients, client.identity.uid, most)) return leave(prompt, NULL, left);
  left->length = knk_receive(fd, datagram);
  bool done = left->length == -EAGAIN ? knk_client_admit(&prompt->clients, fd, client) : answer(prompt, datagram, left);
  return done ? 0 : leave(prompt, datagram, left);
}

int knk_prompt_accept(struct prompt *prompt, int listener, int most, struct knk_datagram *datagram, struct knk_left *left) {
  int result = 0;

  for (int i = 0; i < MOST_ACCEPTS && result == 0; i++) result = accept_one(prompt, listener, most, datagram, left);
  return result == -EAGAIN ? 0 : result;
}

/* The same for several, where there may be several: to accept nobody takes as long as to accept somebody. */
static int accept_some(struct prompt *prompt, int listener, int most, struct knk_datagram *datagram, struct knk_left *left) {
  int accepted = 0, limit = prompt->alone % ALONE == 0 ? MOST_ACCEPTS : 1, result;

  do result = accept_one(prompt, listener, most, datagram, left);
  while (result == 0 && ++accepted < limit);
  prompt->alone = accepted > 1 ? 0 : prompt->alone + 1;
  return result;
}

/* False where JavaScript has to settle it. */
static bool settle(struct prompt *prompt, const struct knk_datagram *datagram, struct knk_left *left) {
  struct client *client = knk_client(&prompt->clients, left->client);
  const struct message_report *report = datagram->data;

  if (left->length != (int)sizeof(*report) || datagram->count != 0) return false;
  if (report->header.version != PROTOCOL_VERSION || report->header.id != MESSAGE_REPORT) return false;
  if (report->header.size != sizeof(*report)) return false;
  if (!knk_settle_for(client->identity.uid, &prompt->places, client->isn, client->socket)) return false;
  if (report->waits) {
    struct message_verdict passed = verdict_of(ACTION_PASS, client->log_level, NULL);
    knk_send(left->client, &passed, sizeof(passed));
  }
  /* It has nothing more to say, or else that is for JavaScript to hear. */
  client->state = SILENT;
  left->length = -EAGAIN;
  int more = knk_is_trusted(client->identity.uid) ? knk_close(left->client) : knk_hang_up(left->client);
  if (more) return false;
  knk_client_forget(&prompt->clients, client);
  return true;
}

int knk_prompt_hear(struct prompt *prompt, struct knk_datagram *datagram, struct knk_left *left) {
  struct epoll_event found[MOST_EVENTS];

  int count = epoll_wait(prompt->clients.set, found, MOST_EVENTS, 0);
  for (int i = 0; i < count; i++) {
    const struct client *client = knk_client(&prompt->clients, found[i].data.fd);
    /* Closed here, but not yet in a child between fork() and exec(). */
    if (!client) continue;
    int length = knk_receive(found[i].data.fd, datagram);
    if (length == -EAGAIN) continue;
    describe(left, found[i].data.fd, &client->identity, length);
    if (client->state == ANSWERED ? settle(prompt, datagram, left) : answer(prompt, datagram, left)) continue;
    return leave(prompt, datagram, left);
  }
  return 0;
}

int knk_prompt_overdue(struct prompt *prompt, int milliseconds, struct knk_left *left) {
  int fd = knk_clients_overdue(&prompt->clients, milliseconds);
  if (fd < 0) return 0;

  describe(left, fd, &knk_client(&prompt->clients, fd)->identity, -EAGAIN);
  return leave(prompt, NULL, left);
}

bool knk_prompt_attend(struct prompt *prompt, int listener, int most) {
  if (prompt->has_left) return false;
  prompt->datagram.data = prompt->data;
  prompt->datagram.room = sizeof(prompt->data);
  int result = listener < 0 ? knk_prompt_hear(prompt, &prompt->datagram, &prompt->left)
                            : accept_some(prompt, listener, most, &prompt->datagram, &prompt->left);
  prompt->has_left = result == 1;
  return result == 0 || result == -EAGAIN;
}

int knk_prompt_left(struct prompt *prompt, struct knk_datagram *datagram, struct knk_left *left) {
  if (!prompt->has_left) return 0;
  prompt->has_left = false;
  memcpy(left, &prompt->left, offsetof(struct knk_left, descriptors) + (size_t)prompt->left.count * sizeof(int32_t));
  if (left->length <= 0) return 1;
  memcpy(datagram->data, prompt->data, (size_t)left->length);
  explicit_bzero(prompt->data, (size_t)left->length);
  return 1;
}

struct prompt *knk_prompt_make(const struct knk_places *places) {
  struct prompt *prompt = calloc(1, sizeof(*prompt));
  if (!prompt) return NULL;

  knk_hands_prepare();
  prompt->places = *places;
  prompt->lessons = knk_lessons_make();
  if (prompt->lessons && knk_clients_open(&prompt->clients)) return prompt;
  if (prompt->lessons) knk_lessons_close(prompt->lessons);
  free(prompt);
  return NULL;
}

int knk_prompt_descriptor(const struct prompt *prompt) { return prompt->clients.set; }

void knk_prompt_teach(struct prompt *prompt, uint32_t question, uint32_t log_level, const uint8_t secret[KNK_SECRET]) {
  if (question == 0 || question != prompt->question) return;
  prompt->question = 0;
  knk_lessons_learn(prompt->lessons, &prompt->asked, log_level, secret);
  explicit_bzero(&prompt->asked, sizeof(prompt->asked));
}

void knk_prompt_forget(struct prompt *prompt) {
  /* Nor what it was asked before, if the answer comes only now. */
  prompt->question = 0;
  knk_lessons_forget(prompt->lessons);
}

int knk_prompt_clients(struct prompt *prompt, uint32_t uid) { return knk_clients_of(&prompt->clients, uid); }

int knk_prompt_elsewhere(struct prompt *prompt, uint32_t uid, int clients) {
  return knk_clients_elsewhere(&prompt->clients, uid, clients);
}

uint64_t knk_prompt_answered(const struct prompt *prompt) { return prompt->answered; }

void knk_prompt_close(struct prompt *prompt) {
  knk_clients_close(&prompt->clients);
  if (prompt->has_left) {
    for (int i = 0; i < prompt->left.count; i++) knk_release(prompt->left.descriptors[i]);
    if (prompt->left.answered) knk_release(prompt->left.socket);
    knk_hang_up(prompt->left.client);
  }
  knk_lessons_close(prompt->lessons);
  explicit_bzero(prompt, sizeof(*prompt));
  free(prompt);
}
