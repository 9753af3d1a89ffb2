/* A connect that the kernel delays (TCP_FASTOPEN_CONNECT), and the way back. Each returns 0, or one of the positive numbers
 * named, or -errno with the call's name in `failed`. None blocks. */
#ifndef KNOCKIFY_DEFERRAL_H
#define KNOCKIFY_DEFERRAL_H

#include "named_calls.h"

#include <stdbool.h>
#include <stdint.h>

enum { KNK_SOCKADDR = 28 };

/* What a disconnect makes a socket forget though the application set it. */
struct knk_forgotten {
  uint32_t max_segment;
  uint32_t window_clamp;
  uint32_t quick_ack;
};

/* Nobody has set any of it, so that there is nothing to lose in a deferral. */
bool knk_is_default(const struct knk_forgotten *forgotten);
int knk_read_forgotten(char *failed, int fd, struct knk_forgotten *forgotten);

/* The kernel did not delay the connect. */
enum { KNK_NOT_DELAYED = 4 };

int knk_delay_connect(char *failed, int fd, const void *peer, uint32_t peer_size);
/* Back to an unconnected socket; knk_undo also puts back what that forgot. */
int knk_end_delay(char *failed, int fd);
int knk_undo(char *failed, int fd, const struct knk_forgotten *forgotten);
/* Clears the options alone. */
int knk_forbid_delay(char *failed, int fd);

/* A deferral without a mark, and the way back. */
struct knk_deferral {
  char failed[KNK_CALL_NAME];
  /* Out of knk_remember, into knk_undo_deferral, which puts it back. */
  struct knk_forgotten forgotten;
  uint32_t peer_size;
  uint8_t peer[KNK_SOCKADDR];
};
_Static_assert(sizeof(struct knk_deferral) == 84, "mirrored in ts/sys/sequences.ts");

int knk_remember(int fd, struct knk_deferral *deferral);
int knk_defer(int fd, struct knk_deferral *deferral);
int knk_undo_deferral(int fd, struct knk_deferral *deferral);
/* Clears the options of a deferral that is over. */
int knk_forbid_deferral(int fd, struct knk_deferral *deferral);
/* Takes a listener back to where it was before listen(2), still bound. Who is in its queue is reset. */
int knk_stop_listening(int fd, struct knk_deferral *deferral);

#endif
