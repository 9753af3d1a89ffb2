#define _GNU_SOURCE
#include "control.h"

#include "environment.h"
#include "generated/originals.h"
#include "log.h"
#include "memory.h"
#include "patience.h"
#include "request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct message_header header(enum message_id id)
{
    return (struct message_header){.version = PROTOCOL_VERSION, .id = (uint16_t)id};
}

static const char *socket_path(void)
{
    const char *path = environment("KNOCK_CONTROL");
    return path && *path ? path : DEFAULT_SOCKET;
}

static bool broken(struct session *session, const char *what, int error)
{
    if (session->quiet) {
        control_close(session);
        errno = error;
        return false;
    }
    const char *reason = error == EAGAIN || error == EWOULDBLOCK ? "no answer in time ('knockify doctor' tells more)" : strerrordesc_np(error);
    if (error == ENOENT || error == ECONNREFUSED)
        log_line(LOG_ERRORS, "%s: no control process at %s (%s): start 'knockify control', or run the program by 'knockify run'",
                 session->call, socket_path(), reason);
    else if (error == EACCES)
        log_line(LOG_ERRORS, "%s: user %u may not use the control process at %s: start that with another --group or --mode", session->call,
                 geteuid(), socket_path());
    else
        log_line(LOG_ERRORS, "%s: %s the control process at %s: %s", session->call, what, socket_path(), reason ? reason : "unknown error");
    control_close(session);
    errno = error;
    return false;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// To what is left: a signal's handler does not begin the wait anew. Of no time at all the kernel would make no limit.
static void limit(const struct session *session, int option)
{
    int64_t left = session->until_ns - now_ns();
    left = left < 1000 ? 1000 : left;
    struct timeval time = {.tv_sec = left / 1000000000, .tv_usec = left % 1000000000 / 1000};
    original_setsockopt(session->fd, SOL_SOCKET, option, &time, sizeof(time));
}

// For connect and sendmsg, which wait while the control process has more before it than it takes.
static void limit_sending(const struct session *session)
{
    limit(session, SO_SNDTIMEO);
}

static bool open_session(struct session *session)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = socket_path();
    session->fd = -1;
    session->quiet = session->listens = false;
    session->until_ns = now_ns() + patience_ns();
    if (strlen(path) >= sizeof(address.sun_path))
        return broken(session, "cannot name", ENAMETOOLONG);
    strcpy(address.sun_path, path);
    session->fd = original_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (session->fd < 0)
        return broken(session, "cannot reach", errno);
    int connected;
    do {
        limit_sending(session);
        connected = original_connect(session->fd, (struct sockaddr *)&address, sizeof(address));
    } while (connected < 0 && errno == EINTR);
    return connected == 0 || broken(session, "cannot reach", errno);
}

void control_close(struct session *session)
{
    if (session->fd >= 0)
        original_close(session->fd);
    session->fd = -1;
}

static bool transmit(struct session *session, struct request *request)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = request->parts, .msg_iovlen = request->count};
    struct message_header *head = request->parts[0].iov_base;
    head->size = 0;
    for (size_t i = 0; i < request->count; i++)
        head->size += (uint32_t)request->parts[i].iov_len;
    if (head->size > MAX_MESSAGE_SIZE)
        return broken(session, "the KNOCK_ settings are too long for", EMSGSIZE);
    if (request->descriptor_count > 0) {
        size_t length = request->descriptor_count * sizeof(int);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(length);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(length);
        memcpy(CMSG_DATA(rights), request->descriptors, length);
    }
    ssize_t sent;
    while ((sent = original_sendmsg(session->fd, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
        limit_sending(session);
    return sent >= 0 || broken(session, "cannot send to", errno);
}

static bool well_formed(const struct verdict *verdict, size_t length)
{
    const struct message_verdict *head = &verdict->head;
    return length >= sizeof(*head) && head->header.version == PROTOCOL_VERSION && head->header.id == MESSAGE_VERDICT &&
           head->header.size == length && head->text_length <= MAX_VERDICT_TEXT && head->prefix_length <= MAX_VERDICT_PREFIX &&
           head->path_length <= MAX_VERDICT_PATH && head->peer_size <= PEER_SIZE &&
           sizeof(*head) + head->text_length + head->prefix_length + head->path_length == length;
}

static ssize_t await_answer(const struct session *session, struct verdict *verdict)
{
    ssize_t length;
    do {
        limit(session, SO_RCVTIMEO);
        length = original_recv(session->fd, verdict, sizeof(*verdict), 0);
    } while (length < 0 && errno == EINTR);
    return length;
}

static bool receive(struct session *session, struct verdict *verdict)
{
    ssize_t length = await_answer(session, verdict);
    if (length <= 0)
        return broken(session, "lost", length < 0 ? errno : ECONNRESET);
    if (!well_formed(verdict, (size_t)length))
        return broken(session, "cannot understand", EPROTO);
    if (verdict->head.log_level != LOG_UNKNOWN)
        log_set_level(verdict->head.log_level);
    if (verdict->head.text_length > 0)
        log_line(LOG_ERRORS, "%s: %.*s", session->call, (int)verdict->head.text_length, (const char *)verdict->blobs);
    return true;
}

// Opened here, with the program's rights, and not by the control process with its own.
static bool hand_over_file(struct session *session, const struct verdict *verdict)
{
    char path[MAX_VERDICT_PATH + 1];
    size_t length = verdict->head.path_length;
    memcpy(path, verdict->blobs + verdict->head.text_length + verdict->head.prefix_length, length);
    path[length] = '\0';
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct message_file answer = {.header = header(MESSAGE_FILE), .error = file < 0 ? errno : 0};
    struct request request = {.descriptors = {file}, .descriptor_count = file < 0 ? 0 : 1};
    request_append(&request, &answer, sizeof(answer));
    bool sent = transmit(session, &request);
    if (file >= 0)
        original_close(file);
    return sent;
}

static bool ask(struct session *session, struct request *request, struct verdict *verdict)
{
    if (!open_session(session) || !transmit(session, request) || !receive(session, verdict))
        return false;
    if (verdict->head.action != ACTION_NEED_FILE)
        return true;
    if (!hand_over_file(session, verdict) || !receive(session, verdict))
        return false;
    return verdict->head.action != ACTION_NEED_FILE || broken(session, "cannot understand", EPROTO);
}

// Asks with the environment's settings and the rc file, whose places in the struct are given.
static bool ask_with_settings(struct session *session, struct request *request, uint32_t *settings_length, uint32_t *rc_path_length,
                              int32_t *rc_error, struct verdict *verdict)
{
    struct settings settings;
    settings_open_rc(&settings);
    *settings_length = settings_append_environment(request);
    *rc_path_length = (uint32_t)strlen(settings.rc_path);
    *rc_error = settings.rc_error;
    settings_append_rc(request, &settings);
    patience_read(settings.rc);
    bool answered = ask(session, request, verdict);
    settings_close_rc(&settings);
    return answered;
}

bool control_connect(struct session *session, int fd, const struct sockaddr *address, socklen_t size, struct verdict *verdict)
{
    struct message_connect message = {.header = header(MESSAGE_CONNECT), .peer_size = size < PEER_SIZE ? size : PEER_SIZE};
    struct request request = {.descriptors = {fd}, .descriptor_count = 1};
    session->call = "connect";
    memcpy(message.peer, address, message.peer_size);
    request_append(&request, &message, sizeof(message));
    return ask_with_settings(session, &request, &message.settings_length, &message.rc_path_length, &message.rc_error, verdict);
}

bool control_listen(struct session *session, int fd, const char *call, struct verdict *verdict)
{
    struct message_listen message = {.header = header(MESSAGE_LISTEN)};
    struct request request = {.descriptors = {fd}, .descriptor_count = 1};
    session->call = call;
    request_append(&request, &message, sizeof(message));
    bool answered =
        ask_with_settings(session, &request, &message.settings_length, &message.rc_path_length, &message.rc_error, verdict);
    session->listens = true;
    return answered;
}

bool control_send(struct session *session, int fd, const struct iovec *parts, size_t count, size_t length, struct verdict *verdict)
{
    struct message_send message = {.header = header(MESSAGE_SEND)};
    struct request request = {.descriptors = {fd}, .descriptor_count = 1};
    uint8_t payload[MAX_PROTECTED_LENGTH];
    session->call = "send";
    size_t limit = length < sizeof(payload) ? length : sizeof(payload);
    for (size_t i = 0; i < count && message.payload_length < limit; i++) {
        size_t room = limit - message.payload_length;
        size_t taken = parts[i].iov_len < room ? parts[i].iov_len : room;
        if (!memory_read(payload + message.payload_length, parts[i].iov_base, taken))
            return false;
        message.payload_length += (uint32_t)taken;
    }
    request_append(&request, &message, sizeof(message));
    request_append(&request, payload, message.payload_length);
    return ask(session, &request, verdict);
}

bool control_option(struct session *session, int fd, int option, const void *value, socklen_t length, struct verdict *verdict)
{
    struct message_option message = {.header = header(MESSAGE_OPTION), .option = (uint32_t)option, .length = length};
    struct request request = {.descriptors = {fd}, .descriptor_count = 1};
    session->call = "setsockopt";
    message.value_length = length < MAX_OPTION_VALUE ? length : MAX_OPTION_VALUE;
    request_append(&request, &message, sizeof(message));
    request_append(&request, value, message.value_length);
    return ask(session, &request, verdict);
}

bool control_accepted(struct session *session, int fd, int listener, struct verdict *verdict)
{
    struct message_accepted message = {.header = header(MESSAGE_ACCEPTED)};
    struct request request = {.descriptors = {fd, listener}, .descriptor_count = 2};
    session->call = "accept";
    request_append(&request, &message, sizeof(message));
    return ask(session, &request, verdict);
}

bool control_report(struct session *session, int error)
{
    struct verdict verdict;
    // A listener whose guard nobody confirms is none.
    bool blamed = session->listens && error == 0;
    struct message_report message = {.header = header(MESSAGE_REPORT), .error = error, .waits = 1};
    struct request request = {0};
    request_append(&request, &message, sizeof(message));
    // A connect is done, and a control process that went away meanwhile changes nothing.
    session->quiet = !session->listens;
    session->until_ns = now_ns() + patience_ns();
    if (!transmit(session, &request))
        return blamed;
    if (receive(session, &verdict))
        blamed = verdict.head.action == ACTION_REFUSE;
    control_close(session);
    return blamed;
}

void control_tell(struct session *session, int error)
{
    struct message_report message = {.header = header(MESSAGE_REPORT), .error = error, .waits = 0};
    struct request request = {0};
    request_append(&request, &message, sizeof(message));
    session->quiet = true;
    if (transmit(session, &request))
        control_close(session);
}

struct iovec verdict_prefix(const struct verdict *verdict)
{
    return (struct iovec){.iov_base = (void *)(verdict->blobs + verdict->head.text_length), .iov_len = verdict->head.prefix_length};
}

int verdict_refuse(const struct verdict *verdict)
{
    errno = verdict->head.error > 0 ? verdict->head.error : EPROTONOSUPPORT;
    return -1;
}

int control_failed(void)
{
    errno = EPROTONOSUPPORT;
    return -1;
}
