/* The least that a connect armed by another process takes.
 *
 *   exchange latency ADDRESS PORT COUNT
 *   exchange rate ADDRESS PORT SECONDS CLIENTS
 *
 * Sends a fresh socket to a process that does nothing else, which learns the timestamp by a deferred connect, sets the first
 * sequence number and answers: no settings, no checks, no marks for filters. `latency` makes a plain connect after each, and
 * prints nanoseconds from question to answer, a line each. `rate` has CLIENTS that ask at the same time and connect what they
 * were answered; prints how often they did.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define IP_LOCAL_PORT_RANGE 51

enum { SEND_QUEUE = 2, QUESTION = 70, ANSWER = 80 };

union rights {
  struct cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int))];
};

static int64_t now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void set(int fd, int level, int name, int value) {
  if (setsockopt(fd, level, name, &value, sizeof(value)) < 0) err(1, "setsockopt(%d, %d)", level, name);
}

static uint32_t get(int fd, int level, int name) {
  uint32_t value = 0;
  socklen_t size = sizeof(value);

  if (getsockopt(fd, level, name, &value, &size) < 0) err(1, "getsockopt(%d, %d)", level, name);
  return value;
}

static void arm(int fd, const struct sockaddr_in *to) {
  struct sockaddr_in source, nowhere = {.sin_family = AF_UNSPEC};
  socklen_t size = sizeof(source);

  set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
  set(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
  if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0) err(1, "deferred connect");
  getsockname(fd, (struct sockaddr *)&source, &size);
  uint32_t isn = get(fd, IPPROTO_TCP, TCP_TIMESTAMP) | 1, port = ntohs(source.sin_port);
  if (connect(fd, (struct sockaddr *)&nowhere, sizeof(nowhere)) < 0) err(1, "disconnect");
  get(fd, SOL_SOCKET, SO_ERROR);
  set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0);
  set(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 0);
  set(fd, IPPROTO_TCP, TCP_REPAIR, 1);
  set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE);
  set(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, (int)isn);
  set(fd, IPPROTO_TCP, TCP_REPAIR, -1);
  set(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, (int)(port | port << 16));
}

static void serve(int listener, const struct sockaddr_in *to) {
  struct epoll_event event = {.events = EPOLLIN};
  int set = epoll_create1(EPOLL_CLOEXEC);

  epoll_ctl(set, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    char bytes[256] = {0};
    union rights control;
    struct iovec part = {bytes, sizeof(bytes)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    int fd;

    if (epoll_wait(set, &event, 1, -1) != 1) continue;
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0 || recvmsg(client, &message, MSG_CMSG_CLOEXEC) != QUESTION) err(1, "question");
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    arm(fd, to);
    if (send(client, bytes, ANSWER, MSG_NOSIGNAL) != ANSWER) err(1, "answer");
    close(fd);
    close(client);
  }
}

static int64_t ask(const struct sockaddr_un *server, int fd) {
  char bytes[256] = {0};
  union rights control = {0};
  struct iovec part = {bytes, QUESTION};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
  struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
  int64_t begun = now();

  int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (connect(client, (const struct sockaddr *)server, sizeof(*server)) < 0) err(1, "connect");
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(fd));
  memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
  if (sendmsg(client, &message, MSG_NOSIGNAL) != QUESTION) err(1, "sendmsg");
  if (recv(client, bytes, sizeof(bytes), 0) != ANSWER) err(1, "recv");
  close(client);
  return now() - begun;
}

static int tcp_socket(void) {
  struct linger reset = {.l_onoff = 1};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) err(1, "socket");

  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  return fd;
}

/* False where another client has got the port meanwhile. */
static bool reach(int fd, const struct sockaddr_in *to) {
  bool reached = connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0;
  if (!reached && errno != EADDRNOTAVAIL) err(1, "connect");
  close(fd);
  return reached;
}

static void measure(const struct sockaddr_un *server, const struct sockaddr_in *to, long count) {
  for (long i = 0; i < count; i++) {
    int asked = tcp_socket(), plain = tcp_socket();
    printf("%lld\n", (long long)ask(server, asked));
    reach(plain, to);
    close(asked);
  }
}

static long repeat(const struct sockaddr_un *server, const struct sockaddr_in *to, int64_t end) {
  long made = 0;

  while (now() < end) {
    int fd = tcp_socket();
    ask(server, fd);
    made += reach(fd, to);
  }
  return made;
}

/* Ends with its parent. */
static bool is_child(void) {
  pid_t parent = getpid(), child = fork();
  if (child < 0) err(1, "fork");
  if (child > 0) return false;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) exit(1);
  return true;
}

static void crowd(const struct sockaddr_un *server, const struct sockaddr_in *to, double seconds, int clients) {
  int64_t end = now() + (int64_t)(seconds * 1e9);
  long sum = 0, made;
  int results[2];
  if (pipe(results) < 0) err(1, "pipe");

  for (int i = 0; i < clients; i++) {
    if (!is_child()) continue;
    made = repeat(server, to, end);
    exit(write(results[1], &made, sizeof(made)) == sizeof(made) ? 0 : 1);
  }
  /* Or else nobody would notice the end of a client that failed. */
  close(results[1]);
  for (int i = 0; i < clients; i++, sum += made)
    if (read(results[0], &made, sizeof(made)) != sizeof(made)) err(1, "read");
  printf("%ld\n", sum);
}

int main(int argc, char **argv) {
  bool latency = argc == 5 && strcmp(argv[1], "latency") == 0, rate = argc == 6 && strcmp(argv[1], "rate") == 0;
  if (!latency && !rate) errx(2, "latency ADDRESS PORT COUNT, or rate ADDRESS PORT SECONDS CLIENTS");
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
  if (inet_pton(AF_INET, argv[2], &to.sin_addr) != 1) errx(2, "%s is not an IPv4 address", argv[2]);
  struct sockaddr_un server = {.sun_family = AF_UNIX};
  snprintf(server.sun_path + 1, sizeof(server.sun_path) - 1, "exchange-%d", getpid());

  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&server, sizeof(server)) < 0 || listen(listener, 16) < 0) err(1, "listen");
  if (is_child()) serve(listener, &to);
  /* Until that one waits, as a control process does. */
  usleep(20000);
  if (latency) measure(&server, &to, atol(argv[4]));
  else crowd(&server, &to, atof(argv[4]), atoi(argv[5]));
  return 0;
}
