#define _GNU_SOURCE
#include "prompt_arm.h"

#include "bpf/token.h"
#include "sequences.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>

const struct message_connect *knk_read_connect(const void *datagram, int length) {
  const struct message_connect *message = datagram;

  if (length < (int)sizeof(*message)) return NULL;
  if (message->header.version != PROTOCOL_VERSION || message->header.id != MESSAGE_CONNECT) return NULL;
  if (message->header.size != (uint32_t)length || message->rc_path_length != 0) return NULL;
  if (message->settings_length != (uint32_t)length - sizeof(*message) || message->peer_size > PEER_SIZE) return NULL;
  return message;
}

/* Address and port as the token covers them. False for what JavaScript has to think about: the unspecified address. */
static bool read_destination(const struct message_connect *message, uint32_t address[4], uint16_t *port) {
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  struct sockaddr_in6 peer;

  memset(&peer, 0, sizeof(peer));
  memset(address, 0, 16);
  memcpy(&peer, message->peer, message->peer_size);
  *port = ntohs(peer.sin6_port);
  if (peer.sin6_family == AF_INET && message->peer_size >= sizeof(struct sockaddr_in)) {
    memcpy(address, &((struct sockaddr_in *)&peer)->sin_addr, 4);
  } else if (peer.sin6_family == AF_INET6 && message->peer_size >= offsetof(struct sockaddr_in6, sin6_scope_id)) {
    bool is_mapped = memcmp(&peer.sin6_addr, mapped, sizeof(mapped)) == 0;
    if (is_mapped) memcpy(address, &peer.sin6_addr.s6_addr[12], 4);
    else memcpy(address, &peer.sin6_addr, 16);
  }
  return address[0] || address[1] || address[2] || address[3];
}

uint32_t knk_prompt_arm(const struct knk_places *places, const uint32_t *secret, const struct message_connect *message,
                        int fd, int32_t *begun) {
  uint32_t address[4];
  uint16_t port;
  struct knk_preparation prepared = {
      .marks = places->marks,
      .links = places->links,
      .timestamps_file = places->timestamps_file,
      .blackhole_file = places->blackhole_file,
      .peer_size = message->peer_size,
  };

  if (!read_destination(message, address, &port) || !knk_is_unconnected(fd, places->network, places->notes)) return 0;
  memcpy(prepared.peer, message->peer, sizeof(prepared.peer));
  int result = knk_prepare_fresh(fd, &prepared);
  *begun = result != KNK_UNFIT;
  if (result != 0) return 0;

  uint32_t tsval = prepared.timestamps ? prepared.tsval : 0;
  struct knk_arming arming = {.marks = places->marks, .source_size = prepared.source_size, .mark = prepared.held};
  memcpy(arming.source, prepared.source, sizeof(arming.source));
  arming.mark.phase = KNOCK_ARMED;
  arming.mark.isn = knock_authenticator(secret, address, tsval, port, 0);
  arming.mark.tsval = arming.mark.real_tsval = tsval;
  arming.mark.has_timestamp = prepared.timestamps ? 1 : 0;
  /* The kernel would take 0 for "choose one". */
  if (arming.mark.isn == 0 || knk_arm(fd, &arming) != 0) return 0;
  return arming.mark.isn;
}
