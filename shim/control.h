// Talking to the control process: one connection a request, so that the program has no descriptor of ours to close,
// inherit or share. Failures are explained on stderr here; the caller only fails closed.
#ifndef KNOCKIFY_CONTROL_H
#define KNOCKIFY_CONTROL_H

#include "generated/messages.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct session {
    int fd;
    int64_t until_ns; // CLOCK_MONOTONIC; when to wait no longer
    bool quiet;       // a lost session needs no explanation any more
    bool listens;     // without an answer to its report, the listener counts as unguarded
    const char *call; // the overridden call, for messages
};

struct verdict {
    struct message_verdict head;
    uint8_t blobs[MAX_VERDICT_TEXT + MAX_VERDICT_PREFIX + MAX_VERDICT_PATH];
};

// Each opens the session, sends the request and waits for the verdict, handing over an f: file on the way if asked.
// False when there is no verdict to obey: the session is closed and stderr says why.
bool control_connect(struct session *session, int fd, const struct sockaddr *address, socklen_t size, struct verdict *verdict);
bool control_listen(struct session *session, int fd, const char *call, struct verdict *verdict);
bool control_send(struct session *session, int fd, const struct iovec *parts, size_t count, size_t length, struct verdict *verdict);
bool control_option(struct session *session, int fd, int option, const void *value, socklen_t length, struct verdict *verdict);
bool control_accepted(struct session *session, int fd, int listener, struct verdict *verdict);

// Reports how the real call ended (an errno, or 0), waits for the answer and closes the session: true when stealth, not the
// network, makes the call fail. Waiting keeps a report from meeting the socket's next connect.
bool control_report(struct session *session, int error);

// Reports that the real call succeeded (0) or goes on as it should (EINPROGRESS), waits for nothing and closes the session.
void control_tell(struct session *session, int error);

void control_close(struct session *session);

// The gathered bytes that have to be sent before the program's own.
struct iovec verdict_prefix(const struct verdict *verdict);

// The call fails: sets errno as the verdict has it and returns -1.
int verdict_refuse(const struct verdict *verdict);

// The call fails because there is no verdict: EPROTONOSUPPORT, -1.
int control_failed(void);

#endif
