#define _GNU_SOURCE
#include "sequences.h"

#include "sys.h"

#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Younger than the C library's headers. */
#define IP_LOCAL_PORT_RANGE 51
#define SO_NETNS_COOKIE 71

int knk_look(int fd, struct knk_sight *sight) {
  char *failed = sight->failed;
  struct knock_note note;

  int known = GET(SOL_SOCKET, SO_DOMAIN, &sight->domain);
  if (known == -ENOTSOCK || known == -EBADF) {
    sight->domain = -1;
    return 0;
  }
  TRY(known);
  TRY(GET(SOL_SOCKET, SO_PROTOCOL, &sight->protocol));
  TRY(GET(SOL_SOCKET, SO_TYPE, &sight->type));
  bool internet = sight->domain == AF_INET || sight->domain == AF_INET6;
  if (!internet || sight->protocol != IPPROTO_TCP || sight->type != SOCK_STREAM) return 0;

  TRY(GET(SOL_SOCKET, SO_NETNS_COOKIE, &sight->network));
  TRY(knk_tcp_state(failed, fd, &sight->state));
  TRY(knk_read_mark(failed, sight->marks, fd, &sight->mark));
  int noted = knk_read_storage(failed, sight->notes, fd, &note);
  TRY(noted);
  /* Secrets are in it. */
  if (noted) explicit_bzero(&note, sizeof(note));
  sight->noted = (uint32_t)noted;
  return 0;
}

bool knk_is_unconnected(int fd, uint64_t network, int notes) {
  char failed[KNK_CALL_NAME] = "";
  uint64_t of = 0;
  int32_t protocol = 0;
  uint32_t state = 0;
  struct knock_note note;

  /* Of all that have this protocol, TCP sockets alone have the information. */
  if (GET(SOL_SOCKET, SO_PROTOCOL, &protocol) < 0 || protocol != IPPROTO_TCP) return false;
  if (knk_tcp_state(failed, fd, &state) < 0 || state != TCP_CLOSE) return false;
  if (GET(SOL_SOCKET, SO_NETNS_COOKIE, &of) < 0 || of != network) return false;
  int noted = knk_read_storage(failed, notes, fd, &note);
  if (noted > 0) explicit_bzero(&note, sizeof(note));
  return noted == 0;
}

/* 0 on kernels that have no such option (before 6.3). */
static int port_range(char *failed, int fd, uint32_t *range) {
  int result = GET(IPPROTO_IP, IP_LOCAL_PORT_RANGE, range);

  if (result == -ENOPROTOOPT) *range = 0;
  return result == -ENOPROTOOPT ? 0 : result;
}

static int read_sysctl(char *failed, const char *name, int file, uint32_t *value) {
  char text[16] = {0};

  TRY(knk_failing(failed, name, pread(file, text, sizeof(text) - 1, 0) < 0 ? -errno : 0));
  *value = (uint32_t)strtoul(text, NULL, 10);
  return 0;
}

static int restore_port_range(char *failed, int fd, uint32_t before) {
  int result = SET(IPPROTO_IP, IP_LOCAL_PORT_RANGE, before);

  /* Before 6.3 the port was pinned by other means. */
  return result == -ENOPROTOOPT ? 0 : result;
}

static bool is_client(const struct knock_socket *mark) {
  return mark->phase == KNOCK_HOLD || mark->phase == KNOCK_ARMED;
}

/* BPF_NOEXIST: -EEXIST, and nothing done, where the socket has a mark. */
static int hold(struct knk_preparation *p, int fd, uint64_t flags) {
  char *failed = p->failed;
  struct knk_forgotten forgotten;
  uint32_t range;

  /* Armed once, it may still be pinned to the port of that time. */
  if (is_client(&p->held)) TRY(restore_port_range(failed, fd, p->held.port_range));
  TRY(port_range(failed, fd, &range));
  TRY(knk_read_forgotten(failed, fd, &forgotten));
  p->held = (struct knock_socket){
      .phase = KNOCK_HOLD,
      .port_range = range,
      .max_segment = forgotten.max_segment,
      .window_clamp = forgotten.window_clamp,
      .quick_ack = forgotten.quick_ack,
  };
  /* From here on no SYN of this socket leaves, whatever happens to this process. */
  return knk_write_mark(failed, p->marks, fd, &p->held, flags);
}

static int hold_and_defer(struct knk_preparation *p, int fd, uint64_t flags) {
  char *failed = p->failed;
  const bool stale = is_client(&p->held);
  char byte;
  int repair = 0;

  if (recv(p->links, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN) return KNK_LINKS_CHANGED;
  int held = hold(p, fd, flags);
  if (held == -EEXIST) return KNK_UNFIT;
  TRY(held);
  /* Whoever was killed while arming may have left it so; the kernel then picks no timestamp offset. */
  if (stale) TRY(GET(IPPROTO_TCP, TCP_REPAIR, &repair));
  if (repair) TRY(knk_failing(failed, "setsockopt(TCP_REPAIR)", knk_write_isn(fd, 0)));
  /* After trouble with Fast Open the kernel would send the SYN, and a blocking socket would make us wait for it. */
  TRY(read_sysctl(failed, "pread(tcp_fastopen_blackhole_timeout)", p->blackhole_file, &p->blackhole));
  if (p->blackhole) return KNK_BLACKHOLE;
  return knk_delay_connect(failed, fd, p->peer, p->peer_size);
}

static int learn(struct knk_preparation *p, int fd) {
  char *failed = p->failed;

  int size = knk_failing(failed, "getsockname", knk_getsockname(fd, p->source, sizeof(p->source)));
  TRY(size);
  p->source_size = (uint32_t)size;
  TRY(read_sysctl(failed, "pread(tcp_timestamps)", p->timestamps_file, &p->timestamps));
  TRY(GET(IPPROTO_TCP, TCP_TIMESTAMP, &p->tsval));
  return 0;
}

/* What the application set while its connect was delayed counts, as it does on a connected socket. There TCP_MAXSEG
 * comes too late for the SYN, and here it can't be read. */
static int update_forgotten(struct knk_preparation *p, int fd) {
  char *failed = p->failed;

  TRY(GET(IPPROTO_TCP, TCP_WINDOW_CLAMP, &p->held.window_clamp));
  return GET(IPPROTO_TCP, TCP_QUICKACK, &p->held.quick_ack);
}

int knk_prepare(int fd, struct knk_preparation *p) {
  TRY(knk_tcp_state(p->failed, fd, &p->state));
  TRY(knk_read_mark(p->failed, p->marks, fd, &p->held));
  bool deferred = p->state == TCP_SYN_SENT && p->held.phase == KNOCK_HOLD;
  if (!deferred) {
    if (p->state != TCP_CLOSE) return KNK_UNFIT;
    int result = hold_and_defer(p, fd, BPF_ANY);
    if (result != 0) return result;
  } else {
    TRY(update_forgotten(p, fd));
  }
  return learn(p, fd);
}

int knk_prepare_fresh(int fd, struct knk_preparation *p) {
  p->state = TCP_CLOSE;
  memset(&p->held, 0, sizeof(p->held));
  int result = hold_and_defer(p, fd, BPF_NOEXIST);
  return result != 0 ? result : learn(p, fd);
}

int knk_bind_port(int fd, struct knk_arming *arming) {
  char *failed = arming->failed;

  TRY(SET(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0));
  int result = knk_bind(fd, arming->source, (int)arming->source_size);
  /* Bound by the application, so that the port stays what it was. */
  return result == -EINVAL ? 0 : knk_failing(failed, "bind", result);
}

int knk_pin_port(int fd, struct knk_arming *arming) {
  char *failed = arming->failed;
  uint32_t port = (uint32_t)arming->source[2] << 8 | arming->source[3];

  int result = SET(IPPROTO_IP, IP_LOCAL_PORT_RANGE, port | port << 16);
  return result == -ENOPROTOOPT ? knk_bind_port(fd, arming) : result;
}

int knk_arm(int fd, struct knk_arming *arming) {
  char *failed = arming->failed;
  const struct knock_socket *mark = &arming->mark;
  const struct knk_forgotten forgotten = {mark->max_segment, mark->window_clamp, mark->quick_ack};

  TRY(knk_is_default(&forgotten) ? knk_end_delay(failed, fd) : knk_undo(failed, fd, &forgotten));
  TRY(knk_failing(failed, "setsockopt(TCP_REPAIR)", knk_write_isn(fd, mark->isn)));
  TRY(knk_pin_port(fd, arming));
  return knk_write_mark(failed, arming->marks, fd, mark, BPF_ANY);
}

/* Connected, though no filter saw its SYN. */
static bool slipped(const struct knock_socket *mark, uint32_t state) {
  return mark->phase == KNOCK_ARMED && !mark->seen && !mark->refused && state == TCP_ESTABLISHED;
}

int knk_take_back(int fd, struct knk_return *taking) {
  char *failed = taking->failed;
  struct knock_socket mark;
  uint32_t state, range;
  int repair = 0;

  TRY(knk_read_mark(failed, taking->marks, fd, &mark));
  if (!is_client(&mark)) return 0;
  TRY(knk_tcp_state(failed, fd, &state));
  if (state != TCP_SYN_SENT && state != TCP_CLOSE && !slipped(&mark, state)) return 0;

  const struct knk_forgotten forgotten = {mark.max_segment, mark.window_clamp, mark.quick_ack};
  mark.phase = KNOCK_HOLD;
  TRY(knk_write_mark(failed, taking->marks, fd, &mark, BPF_ANY));
  TRY(state == TCP_CLOSE ? knk_forbid_delay(failed, fd) : knk_undo(failed, fd, &forgotten));
  /* Also ends repair mode. 0: the kernel chooses the next connection's ISN itself. */
  TRY(knk_failing(failed, "setsockopt(TCP_REPAIR)", knk_write_isn(fd, 0)));
  TRY(GET(IPPROTO_TCP, TCP_REPAIR, &repair));
  if (repair) return KNK_STILL_IN_REPAIR;
  TRY(port_range(failed, fd, &range));
  if (range != mark.port_range) TRY(restore_port_range(failed, fd, mark.port_range));
  return knk_erase_mark(failed, taking->marks, fd);
}

int knk_settle(int fd, struct knk_settlement *settlement) {
  char *failed = settlement->failed;

  TRY(knk_read_mark(failed, settlement->marks, fd, &settlement->mark));
  if (settlement->mark.phase != KNOCK_ARMED) return 0;
  if (settlement->isn && settlement->mark.isn != settlement->isn) return 0;
  TRY(restore_port_range(failed, fd, settlement->mark.port_range));
  return settlement->mark.seen ? 0 : knk_tcp_state(failed, fd, &settlement->state);
}
