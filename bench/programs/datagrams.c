/* Sends small UDP datagrams as fast as it can, through queueing discipline and filters of an interface; of one in each of two
 * network namespaces, by turns.
 *
 *   datagrams ADDRESS PORT SECONDS NAMESPACE NAMESPACE
 *
 * Prints how many a second by either. Nobody need listen: what a host does with them once its interface has them is not
 * measured. The turns are so short that whatever changes meanwhile meets both, and seconds are the thread's own, in which the
 * other end of a veth pair receives, too: what others run is none of it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64 };
#define TURN 0.005

struct side {
  int fd;
  long sent;
  double seconds;
};

static double now(void) {
  struct timespec time;

  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int socket_in(const char *namespace) {
  int there = open(namespace, O_RDONLY | O_CLOEXEC);
  if (there < 0 || setns(there, CLONE_NEWNET) < 0) err(1, "%s", namespace);

  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) err(1, "socket");
  return fd;
}

static void take_turn(struct side *side, struct mmsghdr *messages) {
  double begun = now(), end = begun;

  for (; end < begun + TURN; end = now()) {
    int more = sendmmsg(side->fd, messages, BATCH, 0);
    /* Somebody says that nobody listens. */
    if (more < 0 && errno != ECONNREFUSED && errno != ENOBUFS) err(1, "sendmmsg");
    if (more > 0) side->sent += more;
  }
  side->seconds += end - begun;
}

int main(int argc, char **argv) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  struct mmsghdr messages[BATCH] = {0};
  char bytes[18] = {0};
  struct iovec part = {bytes, sizeof(bytes)};
  if (argc != 6 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
    errx(2, "ADDRESS PORT SECONDS NAMESPACE NAMESPACE");
  to.sin_port = htons((uint16_t)atoi(argv[2]));

  struct side sides[] = {{.fd = socket_in(argv[4])}, {.fd = socket_in(argv[5])}};
  for (int i = 0; i < BATCH; i++)
    messages[i].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &part, .msg_iovlen = 1};
  for (double end = now() + atof(argv[3]); now() < end;) {
    take_turn(&sides[0], messages);
    take_turn(&sides[1], messages);
  }
  printf("%.0f %.0f\n", (double)sides[0].sent / sides[0].seconds, (double)sides[1].sent / sides[1].seconds);
  return 0;
}
