/* Round-trip times of RSTs: `SOURCE DESTINATION COUNT PORT...`, IPv4 addresses. Sends COUNT SYNs to each port, one at a time
 * and in an order drawn anew for each round, and prints a line for each round: nanoseconds until the answer, in the order of
 * the ports. A lost answer's round does not count. SYNs are those of a Linux client, with sequence numbers and
 * timestamps at random. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_PORTS 8
#define OPTIONS 20
#define FIRST_PORT 20000
#define PATIENCE 200 /* ms */

struct segment {
  struct tcphdr tcp;
  uint8_t options[OPTIONS];
};

static int wire;
static struct in_addr source, destination;

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC_RAW, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint32_t any(void) {
  uint32_t value;
  if (getrandom(&value, sizeof(value), 0) != sizeof(value)) abort();
  return value;
}

static uint16_t checksum(const struct segment *segment) {
  struct {
    struct in_addr source, destination;
    uint8_t zero, protocol;
    uint16_t length;
    struct segment segment;
  } __attribute__((packed)) pseudo = {source, destination, 0, IPPROTO_TCP, htons(sizeof(*segment)), *segment};
  uint16_t words[sizeof(pseudo) / 2];
  uint32_t sum = 0;

  memcpy(words, &pseudo, sizeof(words));
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) sum += words[i];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static struct segment syn(uint16_t from, uint16_t to) {
  static const uint8_t options[OPTIONS] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7};
  struct segment segment = {
      .tcp = {.source = htons(from), .dest = htons(to), .seq = any(), .doff = 10, .syn = 1, .window = htons(64240)}};
  uint32_t tsval = any();

  memcpy(segment.options, options, OPTIONS);
  memcpy(&segment.options[8], &tsval, sizeof(tsval));
  segment.tcp.check = checksum(&segment);
  return segment;
}

/* Nanoseconds until the RST, 0 if none came. */
static uint64_t probe(uint16_t from, uint16_t to) {
  struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr = destination};
  struct segment segment = syn(from, to);
  struct pollfd ready = {.fd = wire, .events = POLLIN};
  uint8_t packet[128];
  uint64_t start = now();

  if (sendto(wire, &segment, sizeof(segment), 0, (struct sockaddr *)&where, sizeof(where)) < 0) return 0;
  while (poll(&ready, 1, PATIENCE) > 0) {
    ssize_t length = recv(wire, packet, sizeof(packet), 0);
    uint64_t end = now();
    struct tcphdr answer;
    if (length < 40) continue;
    memcpy(&answer, packet + 20, sizeof(answer));
    if (answer.rst && answer.dest == htons(from) && answer.source == htons(to)) return end - start;
  }
  return 0;
}

int main(int argc, char **argv) {
  int ports = argc - 4, order[MOST_PORTS];
  uint64_t times[MOST_PORTS];

  if (ports < 1 || ports > MOST_PORTS || !inet_aton(argv[1], &source) || !inet_aton(argv[2], &destination)) return 2;
  wire = socket(AF_INET, SOCK_RAW, IPPROTO_TCP);
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr = source};
  if (wire < 0 || bind(wire, (struct sockaddr *)&local, sizeof(local))) return perror("socket"), 1;
  for (int i = 0; i < ports; i++) order[i] = i;
  for (int round = 0; round < atoi(argv[3]); round++) {
    int lost = 0;
    for (int i = ports - 1; i > 0; i--) {
      int j = (int)(any() % (uint32_t)(i + 1)), swapped = order[i];
      order[i] = order[j];
      order[j] = swapped;
    }
    for (int i = 0; i < ports; i++) {
      times[order[i]] = probe((uint16_t)(FIRST_PORT + round % 40000), (uint16_t)atoi(argv[4 + order[i]]));
      lost |= !times[order[i]];
    }
    if (lost) continue;
    for (int i = 0; i < ports; i++) printf("%llu%c", (unsigned long long)times[i], i + 1 < ports ? ' ' : '\n');
  }
  return 0;
}
