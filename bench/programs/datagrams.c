/* Sends small UDP datagrams as fast as it can, through queueing discipline and filters of the interface.
 *
 *   datagrams ADDRESS PORT SECONDS
 *
 * Prints how many. Nobody need listen: what a host does with them once its interface has them is not measured.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64 };

static double now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  struct mmsghdr messages[BATCH] = {0};
  char bytes[18] = {0};
  struct iovec part = {bytes, sizeof(bytes)};
  long sent = 0;
  if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) errx(2, "ADDRESS PORT SECONDS");
  to.sin_port = htons((uint16_t)atoi(argv[2]));

  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  for (int i = 0; i < BATCH; i++)
    messages[i].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &part, .msg_iovlen = 1};
  for (double end = now() + atof(argv[3]); now() < end;) {
    int more = sendmmsg(fd, messages, BATCH, 0);
    /* Somebody says that nobody listens. */
    if (more < 0 && errno != ECONNREFUSED && errno != ENOBUFS) err(1, "sendmmsg");
    if (more > 0) sent += more;
  }
  printf("%ld\n", sent);
  return 0;
}
