/* A network full of clients on one interface: opens connections, or knocks without the token, as fast as the answers come.
 *
 *   handshakes INTERFACE TO-MAC TO-ADDRESS PORT SECONDS WINDOW [SECRET PAYLOAD HASH]
 *
 * With SECRET (128 hex digits) each SYN carries its token, the handshake is completed, PAYLOAD (may be empty) is sent with
 * it and protected by its integrity hash, and the server's RST ends it; without, ISNs are random and the answer to the SYN ends it. At most
 * WINDOW are under way at a time; an answer that does not come for 100 ms is given up. Prints answers, lost ones and
 * the seconds that it took. Sources are all of 198.18.0.0/16, which nobody's own stack may answer for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "token.h"

enum { BATCH = 64, TCP_BYTES = 40, FRAME = 1514, FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

struct segment {
  struct ether_header ethernet;
  struct iphdr ip;
  uint16_t source, destination;
  uint32_t sequence, acknowledgment;
  uint8_t offset, flags;
  uint16_t window, checksum, urgent;
  uint8_t options[20];
  uint8_t payload[1024];
} __attribute__((packed));

static struct segment pattern;
static uint32_t secret[16];
static bool with_token;
static size_t payload_length;
static uint16_t integrity;

static double now(void) {
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint32_t sum(const void *data, size_t length, uint32_t so_far) {
  const uint8_t *bytes = data;

  for (size_t i = 0; i < length; i++) so_far += (uint32_t)bytes[i] << (i & 1 ? 0 : 8);
  return so_far;
}

static uint16_t folded(uint32_t total) {
  while (total >> 16) total = (total & 0xffff) + (total >> 16);
  return htons((uint16_t)~total);
}

static size_t finish(struct segment *s, size_t payload) {
  uint16_t length = (uint16_t)((s->offset >> 4) * 4 + payload);

  s->ip.tot_len = htons((uint16_t)(sizeof(s->ip) + length));
  s->ip.check = 0;
  s->ip.check = folded(sum(&s->ip, sizeof(s->ip), 0));
  s->checksum = 0;
  s->checksum = folded(sum(&s->source, length, sum(&s->ip.saddr, 8, IPPROTO_TCP + length)));
  return sizeof(s->ethernet) + sizeof(s->ip) + length;
}

/* The 32-bit number that makes connection and TSval of the n-th attempt differ from all others. */
static size_t make_syn(struct segment *s, uint32_t n) {
  uint32_t address[4] = {pattern.ip.daddr};

  *s = pattern;
  s->ip.saddr = htonl(0xc6120000 | (n / 60000 & 0xffff));
  s->source = htons((uint16_t)(1024 + n % 60000));
  uint32_t tsval = htonl(n);
  memcpy(&s->options[8], &tsval, sizeof(tsval));
  uint32_t isn = with_token ? knock_authenticator(secret, address, n, ntohs(s->destination), integrity) : n * 2654435761u;
  if (payload_length) isn = (isn & 0xffff0000) | integrity;
  s->sequence = htonl(isn);
  s->flags = SYN;
  return finish(s, 0);
}

/* Options as they are sent with the last segment of a handshake: two NOPs and the timestamps. */
static size_t make_ack(struct segment *s, const struct segment *answer) {
  const uint8_t *options = answer->options;
  size_t payload = payload_length;
  uint8_t echo[8] = {0};

  for (size_t i = 0; i < (size_t)((answer->offset >> 4) * 4 - 20);) {
    if (options[i] == 0) break;
    if (options[i] == 8) memcpy(echo, &options[i + 2], 8);
    i += options[i] == 1 ? 1 : options[i + 1];
  }
  *s = pattern;
  s->ip.saddr = answer->ip.daddr;
  s->source = answer->destination;
  s->sequence = answer->acknowledgment;
  s->acknowledgment = htonl(ntohl(answer->sequence) + 1);
  s->flags = ACK | (payload ? PSH : 0);
  s->offset = 8 << 4;
  uint8_t timestamps[12] = {1, 1, 8, 10, echo[4], echo[5], echo[6], echo[7], echo[0], echo[1], echo[2], echo[3]};
  memmove(&s->options[12], pattern.payload, payload);
  memcpy(s->options, timestamps, sizeof(timestamps));
  return finish(s, payload);
}

static int open_interface(const char *name) {
  struct sockaddr_ll here = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
  struct ifreq request = {0};
  int size = 1 << 24, on = 1;
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_IP));
  if (fd < 0) err(1, "socket(AF_PACKET)");

  here.sll_ifindex = (int)if_nametoindex(name);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(fd, SIOCGIFHWADDR, &request) < 0) err(1, "%s", name);
  memcpy(pattern.ethernet.ether_shost, request.ifr_hwaddr.sa_data, 6);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
  setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
  setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0) err(1, "bind");
  return fd;
}

static void send_all(int fd, struct mmsghdr *messages, unsigned int count) {
  for (unsigned int sent = 0; sent < count;) {
    int more = sendmmsg(fd, messages + sent, count - sent, 0);
    if (more < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR) err(1, "sendmmsg");
    if (more > 0) sent += (unsigned int)more;
  }
}

/* The answers that end an attempt; those that only go on with it get theirs. */
static long receive(int fd) {
  static struct segment in[BATCH], out[BATCH];
  struct iovec parts[BATCH], replies[BATCH];
  struct mmsghdr messages[BATCH] = {0}, answers[BATCH] = {0};
  unsigned int reply = 0;
  long ended = 0;

  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){&in[i], sizeof(in[i])};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
  for (int i = 0; i < count; i++) {
    const struct segment *s = &in[i];
    if (s->ip.protocol != IPPROTO_TCP || s->ip.saddr != pattern.ip.daddr || s->source != pattern.destination) continue;
    if (s->flags & RST) ended++;
    if ((s->flags & (SYN | ACK | RST)) != (SYN | ACK)) continue;
    replies[reply] = (struct iovec){&out[reply], make_ack(&out[reply], s)};
    answers[reply].msg_hdr = (struct msghdr){.msg_iov = &replies[reply], .msg_iovlen = 1};
    reply++;
  }
  send_all(fd, answers, reply);
  return ended;
}

static void knock(int fd, uint32_t first, unsigned int count) {
  static struct segment out[BATCH];
  struct iovec parts[BATCH];
  struct mmsghdr messages[BATCH] = {0};

  for (unsigned int i = 0; i < count; i++) {
    parts[i] = (struct iovec){&out[i], make_syn(&out[i], first + i)};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  send_all(fd, messages, count);
}

static void run(int fd, double seconds, long window) {
  uint32_t n = (uint32_t)time(NULL) * 2654435761u;
  long ended = 0, lost = 0, under_way = 0;
  double begun = now(), heard = begun;

  for (double time = begun; time - begun < seconds; time = now()) {
    unsigned int more = window - under_way < BATCH ? (unsigned int)(window - under_way) : BATCH;
    if (more) knock(fd, n, more);
    n += more;
    under_way += more;
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    if (under_way >= window) poll(&entry, 1, 100);
    long answered = receive(fd);
    if (answered) heard = time;
    ended += answered;
    under_way -= answered < under_way ? answered : under_way;
    if (time - heard < 0.1) continue;
    lost += under_way;
    under_way = 0;
    heard = time;
  }
  printf("%ld %ld %.6f\n", ended, lost, now() - begun);
}

static void parse_hex(const char *text, uint8_t *bytes, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (sscanf(text + 2 * i, "%2hhx", &bytes[i]) != 1) errx(2, "%s is not %zu hex digits", text, 2 * length);
}

int main(int argc, char **argv) {
  /* As a Linux client's: MSS, SACK permitted, timestamps, NOP, window scale. */
  static const uint8_t options[20] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7};
  if (argc != 7 && argc != 10) errx(2, "INTERFACE TO-MAC TO-ADDRESS PORT SECONDS WINDOW [SECRET PAYLOAD HASH]");

  unsigned int mac[6];
  if (sscanf(argv[2], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6)
    errx(2, "%s is no Ethernet address", argv[2]);
  for (int i = 0; i < 6; i++) pattern.ethernet.ether_dhost[i] = (uint8_t)mac[i];
  pattern.ethernet.ether_type = htons(ETHERTYPE_IP);
  pattern.ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP};
  if (inet_pton(AF_INET, argv[3], &pattern.ip.daddr) != 1) errx(2, "%s is no IPv4 address", argv[3]);
  pattern.destination = htons((uint16_t)atoi(argv[4]));
  pattern.offset = TCP_BYTES / 4 << 4;
  pattern.window = htons(64240);
  memcpy(pattern.options, options, sizeof(options));
  if (argc == 10) {
    with_token = true;
    payload_length = strlen(argv[8]);
    if (payload_length > sizeof(pattern.payload) - 16) errx(2, "the payload is too long");
    parse_hex(argv[7], (uint8_t *)secret, sizeof(secret));
    memcpy(pattern.payload, argv[8], payload_length);
    integrity = (uint16_t)atoi(argv[9]);
  }
  run(open_interface(argv[1]), atof(argv[5]), atol(argv[6]));
  return 0;
}
