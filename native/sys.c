#define _GNU_SOURCE
#include "sys.h"

#include "handed.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* linux/tcp.h and netinet/tcp.h exclude each other; these two are only in the former. */
#define REPAIR_OFF_NO_PROBE (-1)
enum { RECEIVE_QUEUE = 1, SEND_QUEUE = 2 };

static int or_errno(long result) { return result < 0 ? -errno : (int)result; }

int knk_setsockopt(int fd, int level, int name, const void *value, int length) {
  return or_errno(setsockopt(fd, level, name, value, (socklen_t)length));
}

int knk_getsockopt(int fd, int level, int name, void *value, int length) {
  socklen_t size = (socklen_t)length;

  return getsockopt(fd, level, name, value, &size) < 0 ? -errno : (int)size;
}

int knk_connect(int fd, const void *address, int length) {
  return or_errno(syscall(SYS_connect, fd, address, (socklen_t)length));
}

int knk_disconnect(int fd) {
  struct sockaddr none = {.sa_family = AF_UNSPEC};

  return or_errno(syscall(SYS_connect, fd, &none, sizeof(none)));
}

int knk_listen(int fd, int backlog) { return or_errno(syscall(SYS_listen, fd, backlog)); }

int knk_bind(int fd, const void *address, int length) { return or_errno(bind(fd, address, (socklen_t)length)); }

int knk_getsockname(int fd, void *address, int length) {
  socklen_t size = (socklen_t)length;

  return getsockname(fd, address, &size) < 0 ? -errno : (int)size;
}

int knk_getpeername(int fd, void *address, int length) {
  socklen_t size = (socklen_t)length;

  return getpeername(fd, address, &size) < 0 ? -errno : (int)size;
}

int knk_send(int fd, const void *bytes, int length) {
  return or_errno(send(fd, bytes, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL));
}

int knk_socket_filter(int fd) {
  socklen_t instructions = 0;

  return getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &instructions) < 0 ? -errno : (int)instructions;
}

int knk_drop_all(int fd) {
  struct sock_filter nothing = {.code = BPF_RET | BPF_K, .k = 0};
  struct sock_fprog program = {.len = 1, .filter = &nothing};

  return knk_setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

int knk_drops_all(int fd) {
  struct sock_filter first;
  socklen_t instructions = 1;

  if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, &first, &instructions) < 0) return 0;
  return instructions == 1 && first.code == (BPF_RET | BPF_K) && first.k == 0;
}

int knk_peek(int fd, void *bytes, int length) {
  return or_errno(recv(fd, bytes, (size_t)length, MSG_PEEK | MSG_DONTWAIT));
}

int knk_socket(int family, int type, int protocol) { return or_errno(socket(family, type | SOCK_CLOEXEC, protocol)); }

int64_t knk_coarse_now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

int knk_close(int fd) {
  knk_handed_back(fd);
  return or_errno(close(fd));
}

int knk_close_unless_lingering(int fd) {
  struct linger linger = {0};

  knk_getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
  return linger.l_onoff && linger.l_linger > 0 ? 1 : knk_close(fd);
}

static int set_tcp(int fd, int name, int value) { return knk_setsockopt(fd, IPPROTO_TCP, name, &value, sizeof(value)); }

/* What `in_repair` does while the socket is in repair mode is the only difference between reading and writing. */
static int with_repair(int fd, int queue, int (*in_repair)(int fd, uint32_t *sequence), uint32_t *sequence) {
  int reuse = 0;
  int result = knk_getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
  if (result < 0) return result;

  result = set_tcp(fd, TCP_REPAIR, 1);
  if (result < 0) return result;
  result = set_tcp(fd, TCP_REPAIR_QUEUE, queue);
  if (result == 0) result = in_repair(fd, sequence);

  int left = set_tcp(fd, TCP_REPAIR, REPAIR_OFF_NO_PROBE);
  int restored = reuse ? knk_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)) : 0;
  if (result < 0) return result;
  return left < 0 ? left : restored;
}

static int write_sequence(int fd, uint32_t *sequence) {
  return knk_setsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, sequence, sizeof(*sequence));
}

static int read_sequence(int fd, uint32_t *sequence) {
  int length = knk_getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, sequence, sizeof(*sequence));

  return length < 0 ? length : 0;
}

int knk_write_isn(int fd, uint32_t isn) { return with_repair(fd, SEND_QUEUE, write_sequence, &isn); }

int knk_read_receive_sequence(int fd, uint32_t *sequence) {
  return with_repair(fd, RECEIVE_QUEUE, read_sequence, sequence);
}

int knk_flock(int fd, int operation) { return or_errno(flock(fd, operation | LOCK_NB)); }

int knk_links_open(void) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_TC};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return -errno;
  if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0) return fd;

  int error = errno;
  close(fd);
  return -error;
}

/* 1 with the event filled in, 0 for a message that changes nothing here. */
static int event_of(const struct nlmsghdr *message, struct knk_link_event *event) {
  const struct ifinfomsg *link = NLMSG_DATA(message);
  const struct tcmsg *control = NLMSG_DATA(message);

  switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      /* Bridges report a port's leaving as a deleted link of their own family. */
      if (link->ifi_family != AF_UNSPEC) return 0;
      event->index = (uint32_t)link->ifi_index;
      event->change = message->nlmsg_type == RTM_NEWLINK ? KNK_LINK_SEEN : KNK_LINK_LOST;
      return 1;
    case RTM_DELQDISC:
    case RTM_DELTFILTER:
      event->index = (uint32_t)control->tcm_ifindex;
      event->change = KNK_LINK_LOST;
      return 1;
    default:
      return 0;
  }
}

int knk_links_drain(int fd, struct knk_link_event *events, int capacity) {
  char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
  int count = 0;

  while (count == 0) {
    ssize_t length = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (length < 0) return errno == EAGAIN ? 0 : -errno;
    for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, (size_t)length); m = NLMSG_NEXT(m, length)) {
      struct knk_link_event event;
      if (!event_of(m, &event)) continue;
      if (count == capacity) return -ENOBUFS;
      events[count++] = event;
    }
  }
  return count;
}

int knk_interfaces(uint32_t *indices, int capacity) {
  struct if_nameindex *all = if_nameindex();
  int count = 0;
  if (!all) return -errno;

  for (; all[count].if_index; count++)
    if (count < capacity) indices[count] = all[count].if_index;
  if_freenameindex(all);
  return count;
}

/* Counts the answers of one dump, without the nameless ones that stand for a priority. */
static int read_filters(int fd) {
  char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
  int count = 0;

  for (;;) {
    ssize_t length = recv(fd, buffer, sizeof(buffer), 0);
    if (length < 0) return -errno;
    for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, (size_t)length); m = NLMSG_NEXT(m, length)) {
      if (m->nlmsg_type == NLMSG_DONE) return count;
      if (m->nlmsg_type == NLMSG_ERROR) return ((struct nlmsgerr *)NLMSG_DATA(m))->error;
      const struct tcmsg *filter = NLMSG_DATA(m);
      if (m->nlmsg_type == RTM_NEWTFILTER && filter->tcm_handle) count++;
    }
  }
}

int knk_count_filters(uint32_t index) {
  const uint32_t parents[] = {TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  int total = fd < 0 ? -errno : 0;

  for (int i = 0; i < 2 && total >= 0; i++) {
    struct {
      struct nlmsghdr header;
      struct tcmsg filter;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = RTM_GETTFILTER,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .filter = {.tcm_family = AF_UNSPEC, .tcm_ifindex = (int)index, .tcm_parent = parents[i]},
    };
    int found = send(fd, &request, sizeof(request), 0) < 0 ? -errno : read_filters(fd);
    total = found < 0 ? found : total + found;
  }
  if (fd >= 0) close(fd);
  return total;
}
