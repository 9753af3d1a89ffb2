#define _GNU_SOURCE
#include "deferral.h"

#include "brief.h"
#include "sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* RFC 9293 section 3.7.1. */
enum { DEFAULT_MSS = 536 };
/* A millisecond each at most: fewer than a hand is waited for (hands.c). */
enum { TRIES = 100 };

int knk_read_forgotten(char *failed, int fd, struct knk_forgotten *forgotten) {
  TRY(GET(IPPROTO_TCP, TCP_MAXSEG, &forgotten->max_segment));
  TRY(GET(IPPROTO_TCP, TCP_WINDOW_CLAMP, &forgotten->window_clamp));
  TRY(GET(IPPROTO_TCP, TCP_QUICKACK, &forgotten->quick_ack));
  return 0;
}

/* Unset options read as their defaults before and after, and are left alone. */
static int restore_forgotten(char *failed, int fd, const struct knk_forgotten *before) {
  uint32_t window_clamp, quick_ack;

  TRY(GET(IPPROTO_TCP, TCP_WINDOW_CLAMP, &window_clamp));
  TRY(GET(IPPROTO_TCP, TCP_QUICKACK, &quick_ack));
  /* Unset, it reads as this default; after a SYN, as what the path carries, which is no setting either. */
  if (before->max_segment != DEFAULT_MSS) TRY(SET(IPPROTO_TCP, TCP_MAXSEG, before->max_segment));
  if (window_clamp != before->window_clamp) TRY(SET(IPPROTO_TCP, TCP_WINDOW_CLAMP, before->window_clamp));
  if (quick_ack != before->quick_ack) TRY(SET(IPPROTO_TCP, TCP_QUICKACK, before->quick_ack));
  return 0;
}

/* Whether the connect was interrupted before the kernel began with it: a supervisor (seccomp) is asked first. */
static int is_yet_to_begin(char *failed, int fd) {
  uint32_t state;
  int connect;

  TRY(knk_tcp_state(failed, fd, &state));
  TRY(GET(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &connect));
  return state == TCP_CLOSE && connect;
}

int knk_delay_connect(char *failed, int fd, const void *peer, uint32_t peer_size) {
  int result;

  TRY(SET(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1));
  TRY(SET(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1));
  for (int tries = 1;; tries++) {
    result = knk_connect_briefly(fd, peer, (int)peer_size);
    if (result != -EINTR || tries == TRIES) break;
    int yet = is_yet_to_begin(failed, fd);
    TRY(yet);
    if (!yet) break;
  }
  /* The application can take the option back at any moment. Its connect is then under way, which whoever is answered with
   * this error must not believe. */
  if (result == -EINTR || result == -EINPROGRESS) return KNK_NOT_DELAYED;
  TRY(knk_failing(failed, "connect", result));

  uint32_t state;
  TRY(knk_tcp_state(failed, fd, &state));
  return state == TCP_SYN_SENT ? 0 : KNK_NOT_DELAYED;
}

/* Where Fast Open has been turned off since, the kernel refuses to clear an option even if it is clear. */
int knk_forbid_delay(char *failed, int fd) {
  int connect = 0, no_cookie = 0;

  int result = SET(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0);
  if (result == 0) result = SET(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 0);
  if (result != -EOPNOTSUPP) return result;
  TRY(GET(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &connect));
  TRY(GET(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &no_cookie));
  return connect || no_cookie ? result : 0;
}

int knk_end_delay(char *failed, int fd) {
  int error;

  TRY(knk_failing(failed, "connect(AF_UNSPEC)", knk_disconnect(fd)));
  /* The disconnect leaves ECONNRESET behind, which the application would take for its own connection's. */
  TRY(GET(SOL_SOCKET, SO_ERROR, &error));
  return knk_forbid_delay(failed, fd);
}

int knk_undo(char *failed, int fd, const struct knk_forgotten *forgotten) {
  TRY(knk_end_delay(failed, fd));
  return restore_forgotten(failed, fd, forgotten);
}

bool knk_is_default(const struct knk_forgotten *forgotten) {
  return forgotten->max_segment == DEFAULT_MSS && forgotten->window_clamp == 0 && forgotten->quick_ack == 1;
}

int knk_remember(int fd, struct knk_deferral *deferral) {
  return knk_read_forgotten(deferral->failed, fd, &deferral->forgotten);
}

int knk_defer(int fd, struct knk_deferral *deferral) {
  return knk_delay_connect(deferral->failed, fd, deferral->peer, deferral->peer_size);
}

int knk_undo_deferral(int fd, struct knk_deferral *deferral) {
  return knk_undo(deferral->failed, fd, &deferral->forgotten);
}

int knk_forbid_deferral(int fd, struct knk_deferral *deferral) { return knk_forbid_delay(deferral->failed, fd); }

int knk_stop_listening(int fd, struct knk_deferral *deferral) {
  TRY(knk_read_forgotten(deferral->failed, fd, &deferral->forgotten));
  /* For a listener this is the disconnect. */
  TRY(knk_failing(deferral->failed, "shutdown", shutdown(fd, SHUT_RD) < 0 ? -errno : 0));
  return restore_forgotten(deferral->failed, fd, &deferral->forgotten);
}
