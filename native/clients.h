/* The clients with which JavaScript has nothing to do yet, by descriptor, and how many of them each user has. */
#ifndef KNOCKIFY_CLIENTS_H
#define KNOCKIFY_CLIENTS_H

#include "crowds.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum client_state {
  NOBODY = 0,
  /* Has not asked yet. */
  SILENT,
  /* Its connect was answered, and is not reported yet. */
  ANSWERED,
};

struct client {
  enum client_state state;
  struct ucred identity;
  /* Of an answered connect. */
  int socket;
  uint32_t isn;
  uint32_t log_level;
  /* As knk_coarse_now() has it: when it was accepted or answered. */
  int64_t since;
};

struct clients {
  /* epoll: becomes readable when one of them says something. */
  int set;
  struct client *all;
  int room;
  struct crowds crowds;
};

/* False where memory or descriptors are out. */
bool knk_clients_open(struct clients *clients);
/* NULL where it is nobody; valid until the next one is admitted. */
struct client *knk_client(const struct clients *clients, int fd);
/* False where memory or the set is full. */
bool knk_client_admit(struct clients *clients, int fd, struct client client);
/* One that is closed. */
void knk_client_forget(struct clients *clients, struct client *client);
/* One whom others listen to from now on. */
void knk_client_dismiss(struct clients *clients, int fd);
/* Whether a user has fewer than `most`, here and elsewhere. */
bool knk_clients_allow(struct clients *clients, uid_t uid, int most);
/* How many of a user's are here. One is also who is gone but whose socket is not closed yet, since that takes long. */
int knk_clients_of(struct clients *clients, uid_t uid);
/* How many of a user's are with JavaScript, from now on. 0 or -ENOMEM. */
int knk_clients_elsewhere(struct clients *clients, uid_t uid, int count);
/* The descriptor of one that has said nothing for so long, or -1. */
int knk_clients_overdue(const struct clients *clients, int milliseconds);
/* All lose their connections. */
void knk_clients_close(struct clients *clients);

#endif
