#define _GNU_SOURCE
#include "clients.h"

#include "channel.h"
#include "closing.h"
#include "sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MORE = 256 };

bool knk_clients_open(struct clients *clients) {
  memset(clients, 0, sizeof(*clients));
  clients->set = epoll_create1(EPOLL_CLOEXEC);
  return clients->set >= 0;
}

struct client *knk_client(const struct clients *clients, int fd) {
  return fd < clients->room && clients->all[fd].state != NOBODY ? &clients->all[fd] : NULL;
}

bool knk_client_admit(struct clients *clients, int fd, struct client client) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

  if (fd >= clients->room) {
    int room = fd + MORE;
    struct client *larger = realloc(clients->all, (size_t)room * sizeof(*larger));
    if (!larger) return false;
    memset(larger + clients->room, 0, (size_t)(room - clients->room) * sizeof(*larger));
    clients->all = larger;
    clients->room = room;
  }
  struct crowd *crowd = knk_crowd(&clients->crowds, client.identity.uid);
  if (!crowd || epoll_ctl(clients->set, EPOLL_CTL_ADD, fd, &event) < 0) return false;
  crowd->here++;
  clients->all[fd] = client;
  return true;
}

void knk_client_forget(struct clients *clients, struct client *client) {
  client->state = NOBODY;
  knk_crowd(&clients->crowds, client->identity.uid)->here--;
}

void knk_client_dismiss(struct clients *clients, int fd) {
  knk_client_forget(clients, &clients->all[fd]);
  epoll_ctl(clients->set, EPOLL_CTL_DEL, fd, NULL);
}

bool knk_clients_allow(struct clients *clients, uid_t uid, int most) {
  const struct crowd *crowd = knk_crowd(&clients->crowds, uid);

  return crowd && crowd->here + crowd->elsewhere + knk_releasing(uid) < most;
}

int knk_clients_of(struct clients *clients, uid_t uid) {
  const struct crowd *crowd = knk_crowd(&clients->crowds, uid);

  return (crowd ? crowd->here : 0) + knk_releasing(uid);
}

int knk_clients_elsewhere(struct clients *clients, uid_t uid, int count) {
  struct crowd *crowd = knk_crowd(&clients->crowds, uid);
  if (!crowd) return -ENOMEM;

  crowd->elsewhere = count;
  return 0;
}

int knk_clients_overdue(const struct clients *clients, int milliseconds) {
  const int64_t now = knk_coarse_now();

  for (int fd = 0; fd < clients->room; fd++) {
    if (clients->all[fd].state != NOBODY && now - clients->all[fd].since >= milliseconds) return fd;
  }
  return -1;
}

void knk_clients_close(struct clients *clients) {
  for (int fd = 0; fd < clients->room; fd++) {
    if (clients->all[fd].state == ANSWERED) knk_release(clients->all[fd].socket);
    if (clients->all[fd].state != NOBODY) knk_hang_up(fd);
  }
  close(clients->set);
  free(clients->all);
  free(clients->crowds.all);
}
