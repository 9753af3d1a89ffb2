#define _GNU_SOURCE
#include "control.h"

#include "generated/originals.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/knockify/control.sock"

enum {
    TIMEOUT_SECONDS = 5,
    MAX_DESCRIPTORS = 2,
    MAX_PARTS = 32, // settings, the pieces of a program's vector, and the header
};

// One datagram in the making: the struct, its blobs, its descriptors.
struct request {
    struct iovec parts[MAX_PARTS];
    size_t count;
    int descriptors[MAX_DESCRIPTORS];
    size_t descriptor_count;
};

static void append(struct request *request, const void *data, size_t length)
{
    request->parts[request->count++] = (struct iovec){.iov_base = (void *)data, .iov_len = length};
}

static struct message_header header(enum message_id id)
{
    return (struct message_header){.version = PROTOCOL_VERSION, .id = (uint16_t)id};
}

static const char *socket_path(void)
{
    const char *path = secure_getenv("KNOCK_CONTROL");
    return path && *path ? path : DEFAULT_SOCKET;
}

static bool broken(struct session *session, const char *what, int error)
{
    if (session->quiet) {
        control_close(session);
        return false;
    }
    const char *reason = error == EAGAIN || error == EWOULDBLOCK ? "no answer in time" : strerrordesc_np(error);
    if (error == ENOENT || error == ECONNREFUSED)
        log_line(LOG_ERRORS, "%s: no control process at %s (%s): start 'knockify control', or run the program by 'knockify run'",
                 session->call, socket_path(), reason);
    else
        log_line(LOG_ERRORS, "%s: %s the control process at %s: %s", session->call, what, socket_path(), reason ? reason : "unknown error");
    control_close(session);
    return false;
}

static bool open_session(struct session *session)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = TIMEOUT_SECONDS};
    const char *path = socket_path();
    session->fd = -1;
    session->quiet = session->confirms = false;
    if (strlen(path) >= sizeof(address.sun_path))
        return broken(session, "cannot name", ENAMETOOLONG);
    strcpy(address.sun_path, path);
    session->fd = original_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (session->fd < 0)
        return broken(session, "cannot reach", errno);
    original_setsockopt(session->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    original_setsockopt(session->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    int connected;
    do
        connected = original_connect(session->fd, (struct sockaddr *)&address, sizeof(address));
    while (connected < 0 && errno == EINTR);
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
    do
        sent = original_sendmsg(session->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
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

static bool receive(struct session *session, struct verdict *verdict)
{
    ssize_t length;
    do
        length = original_recv(session->fd, verdict, sizeof(*verdict), 0);
    while (length < 0 && errno == EINTR);
    if (length <= 0)
        return broken(session, "lost", length < 0 ? errno : ECONNRESET);
    if (!well_formed(verdict, (size_t)length))
        return broken(session, "cannot understand", EPROTO);
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
    append(&request, &answer, sizeof(answer));
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

// The environment's settings as KEY=VALUE texts, and the rc file, opened with the program's rights.
struct settings {
    char rc_path[MAX_CONNECT_RC_PATH];
    int rc;
    int32_t rc_error;
};

static uint32_t append_environment(struct request *request)
{
    static const char *const names[] = SETTING_VARIABLES;
    uint32_t length = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = secure_getenv(names[i]);
        if (!value)
            continue;
        append(request, names[i], strlen(names[i]));
        append(request, "=", 1);
        append(request, value, strlen(value) + 1);
        length += (uint32_t)(strlen(names[i]) + 1 + strlen(value) + 1);
    }
    return length;
}

static void open_rc(struct settings *settings)
{
    const char *named = secure_getenv("KNOCK_RC"), *home = secure_getenv("HOME");
    *settings = (struct settings){.rc = -1};
    int length = 0;
    if (named && *named)
        length = snprintf(settings->rc_path, sizeof(settings->rc_path), "%s", named);
    else if (home && *home)
        length = snprintf(settings->rc_path, sizeof(settings->rc_path), "%s/.knockrc", home);
    if (length <= 0 || (size_t)length >= sizeof(settings->rc_path)) {
        settings->rc_error = length <= 0 ? 0 : ENAMETOOLONG;
        return;
    }
    settings->rc = open(settings->rc_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    settings->rc_error = settings->rc < 0 ? errno : 0;
    bool absent = settings->rc_error == ENOENT || settings->rc_error == ENOTDIR;
    // A server that dropped its privileges may no longer look into its old home: no reason to fail if it needs nothing there.
    bool dispensable = settings->rc_error == EACCES && secure_getenv("KNOCK_SECRET");
    if (!(named && *named) && (absent || dispensable)) {
        settings->rc_path[0] = '\0';
        settings->rc_error = 0;
    }
}

static void append_rc(struct request *request, const struct settings *settings)
{
    append(request, settings->rc_path, strlen(settings->rc_path));
    if (settings->rc >= 0)
        request->descriptors[request->descriptor_count++] = settings->rc;
}

static void close_rc(struct settings *settings)
{
    if (settings->rc >= 0)
        original_close(settings->rc);
}

bool control_connect(struct session *session, int fd, const struct sockaddr *address, socklen_t size, struct verdict *verdict)
{
    struct settings settings;
    struct message_connect message = {.header = header(MESSAGE_CONNECT), .peer_size = size < PEER_SIZE ? size : PEER_SIZE};
    struct request request = {.descriptors = {fd}, .descriptor_count = 1};
    session->call = "connect";
    open_rc(&settings);
    memcpy(message.peer, address, message.peer_size);
    append(&request, &message, sizeof(message));
    message.settings_length = append_environment(&request);
    message.rc_path_length = (uint32_t)strlen(settings.rc_path);
    message.rc_error = settings.rc_error;
    append_rc(&request, &settings);
    bool answered = ask(session, &request, verdict);
    close_rc(&settings);
    return answered;
}

bool control_listen(struct session *session, int fd, struct verdict *verdict)
{
    struct settings settings;
    struct message_listen message = {.header = header(MESSAGE_LISTEN)};
    struct request request = {.descriptors = {fd}, .descriptor_count = 1};
    session->call = "listen";
    open_rc(&settings);
    append(&request, &message, sizeof(message));
    message.settings_length = append_environment(&request);
    message.rc_path_length = (uint32_t)strlen(settings.rc_path);
    message.rc_error = settings.rc_error;
    append_rc(&request, &settings);
    bool answered = ask(session, &request, verdict);
    session->confirms = true;
    close_rc(&settings);
    return answered;
}

bool control_send(struct session *session, int fd, const struct iovec *parts, size_t count, struct verdict *verdict)
{
    struct message_send message = {.header = header(MESSAGE_SEND)};
    struct request request = {.descriptors = {fd}, .descriptor_count = 1};
    uint8_t payload[MAX_PROTECTED_LENGTH];
    session->call = "send";
    for (size_t i = 0; i < count && message.payload_length < sizeof(payload); i++) {
        size_t room = sizeof(payload) - message.payload_length;
        size_t length = parts[i].iov_len < room ? parts[i].iov_len : room;
        memcpy(payload + message.payload_length, parts[i].iov_base, length);
        message.payload_length += (uint32_t)length;
    }
    append(&request, &message, sizeof(message));
    append(&request, payload, message.payload_length);
    return ask(session, &request, verdict);
}

bool control_accepted(struct session *session, int fd, int listener, struct verdict *verdict)
{
    struct message_accepted message = {.header = header(MESSAGE_ACCEPTED)};
    struct request request = {.descriptors = {fd, listener}, .descriptor_count = 2};
    session->call = "accept";
    append(&request, &message, sizeof(message));
    return ask(session, &request, verdict);
}

bool control_report(struct session *session, int error)
{
    struct verdict verdict;
    struct message_report message = {.header = header(MESSAGE_REPORT), .error = error};
    struct request request = {0};
    bool blamed = false;
    append(&request, &message, sizeof(message));
    session->quiet = true; // the call itself is done; a control process that went away meanwhile changes nothing
    if (!transmit(session, &request))
        return false;
    if (session->confirms || (error != 0 && error != EINPROGRESS))
        blamed = receive(session, &verdict) && verdict.head.action == ACTION_REFUSE;
    control_close(session);
    return blamed;
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
