#define _GNU_SOURCE
#include "diagnosis.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A request for the sockets of a family that are in these states, and for what a map has of each. */
struct request {
  struct nlmsghdr header;
  struct inet_diag_req_v2 sockets;
  struct nlattr storages;
  struct nlattr map;
  int32_t fd;
};

static struct request request_for(int family, uint32_t states, int map) {
  return (struct request){
      .header = {.nlmsg_len = sizeof(struct request),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
      .sockets = {.sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = states},
      .storages = {.nla_len = 2 * sizeof(struct nlattr) + sizeof(int32_t),
                   .nla_type = INET_DIAG_REQ_SK_BPF_STORAGES | NLA_F_NESTED},
      .map = {.nla_len = sizeof(struct nlattr) + sizeof(int32_t), .nla_type = SK_DIAG_BPF_STORAGE_REQ_MAP_FD},
      .fd = map,
  };
}

/* The attribute of a type among `length` bytes of them; NULL if there is none. */
static const struct nlattr *attribute(const void *first, size_t length, int type) {
  const char *at = first;

  while (length >= sizeof(struct nlattr)) {
    const struct nlattr *found = (const void *)at;
    if (found->nla_len < sizeof(*found) || found->nla_len > length) return NULL;
    if ((found->nla_type & NLA_TYPE_MASK) == type) return found;
    size_t whole = NLA_ALIGN(found->nla_len);
    if (whole >= length) return NULL;
    at += whole;
    length -= whole;
  }
  return NULL;
}

static const struct nlattr *inside(const struct nlattr *nest, int type) {
  return nest ? attribute(nest + 1, nest->nla_len - sizeof(*nest), type) : NULL;
}

/* 1 with the socket filled in, 0 for one that the map knows nothing of. */
static int socket_of(const struct nlmsghdr *message, struct knk_seen *seen) {
  const struct inet_diag_msg *found = NLMSG_DATA(message);
  if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*found))) return 0;

  size_t length = message->nlmsg_len - NLMSG_LENGTH(sizeof(*found));
  const struct nlattr *storages = attribute(found + 1, length, INET_DIAG_SK_BPF_STORAGES);
  const struct nlattr *value = inside(inside(storages, SK_DIAG_BPF_STORAGE), SK_DIAG_BPF_STORAGE_MAP_VALUE);
  if (!value || value->nla_len > sizeof(*value) + KNK_STORAGE) return 0;

  *seen = (struct knk_seen){
      .cookie = (uint64_t)found->id.idiag_cookie[1] << 32 | found->id.idiag_cookie[0],
      .uid = found->idiag_uid,
      .interface = found->id.idiag_if,
      .inode = found->idiag_inode,
      .port = ntohs(found->id.idiag_sport),
      .family = found->idiag_family,
      .state = found->idiag_state,
      .stored = value->nla_len - sizeof(*value),
  };
  memcpy(seen->address, found->id.idiag_src, sizeof(seen->address));
  memcpy(seen->storage, value + 1, seen->stored);
  return 1;
}

/* Where the sockets found go: whole, or of each the cookie; the other is NULL. */
struct room {
  struct knk_seen *seen;
  uint64_t *cookies;
  int capacity;
};

static void keep(const struct room *room, int at, const struct knk_seen *one) {
  if (at >= room->capacity) return;
  if (room->seen) room->seen[at] = *one;
  if (room->cookies) room->cookies[at] = one->cookie;
}

/* Reads the answers of one dump: how many sockets there are now, whether there is room for all or not. */
static int read_answers(int fd, const struct room *room, int count) {
  char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));

  for (;;) {
    ssize_t length = recv(fd, buffer, sizeof(buffer), 0);
    if (length < 0) return -errno;
    for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, (size_t)length); m = NLMSG_NEXT(m, length)) {
      struct knk_seen one;
      if (m->nlmsg_type == NLMSG_DONE) return count;
      if (m->nlmsg_type == NLMSG_ERROR) return ((struct nlmsgerr *)NLMSG_DATA(m))->error;
      if (m->nlmsg_type != SOCK_DIAG_BY_FAMILY || !socket_of(m, &one)) continue;
      keep(room, count++, &one);
    }
  }
}

static int find(uint32_t states, int map, const struct room *room) {
  const int families[] = {AF_INET, AF_INET6};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  int count = fd < 0 ? -errno : 0;

  for (int i = 0; i < 2 && count >= 0; i++) {
    struct request request = request_for(families[i], states, map);
    count = send(fd, &request, sizeof(request), 0) < 0 ? -errno : read_answers(fd, room, count);
  }
  if (fd >= 0) close(fd);
  return count;
}

int knk_sockets(uint32_t states, int map, struct knk_seen *seen, int capacity) {
  return find(states, map, &(struct room){.seen = seen, .capacity = capacity});
}

int knk_socket_cookies(uint32_t states, int map, uint64_t *cookies, int capacity) {
  return find(states, map, &(struct room){.cookies = cookies, .capacity = capacity});
}
