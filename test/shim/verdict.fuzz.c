// What a control process, or somebody in its place, may answer: any bytes at all. The client side of the protocol reads
// them here, without a socket, by libFuzzer's choice: one byte for the request, then each datagram with its length ahead.
// A bit of the first byte puts a right header on each of them, which chance would hardly find.
#define _GNU_SOURCE
#include "../../shim/control.h"
#include "../../shim/generated/originals.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t *input;
static size_t left;
static bool headed;

enum { HEADED = 0x80 };

static size_t next_datagram(void *to, size_t room)
{
    if (left < 2)
        return 0;
    size_t length = (size_t)input[0] << 8 | input[1];
    input += 2;
    left -= 2;
    if (length > left)
        length = left;
    memcpy(to, input, length < room ? length : room);
    input += length;
    left -= length;
    if (length > room)
        length = room;
    struct message_header header = {.version = PROTOCOL_VERSION, .id = MESSAGE_VERDICT, .size = (uint32_t)length};
    if (headed && length >= sizeof(header))
        memcpy(to, &header, sizeof(header));
    return length;
}

static int fake_socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    return 1000;
}

static int fake_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    (void)fd, (void)address, (void)size;
    return 0;
}

static ssize_t fake_sendmsg(int fd, const struct msghdr *message, int flags)
{
    (void)fd, (void)flags;
    size_t length = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        length += message->msg_iov[i].iov_len;
    return (ssize_t)length;
}

static ssize_t fake_recv(int fd, void *data, size_t length, int flags)
{
    (void)fd, (void)flags;
    return (ssize_t)next_datagram(data, length);
}

static int fake_ppoll(struct pollfd *entries, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    (void)entries, (void)timeout, (void)mask;
    return (int)count;
}

static ssize_t fake_write(int fd, const void *data, size_t length)
{
    (void)fd;
    return memchr(data, '\n', length) ? (ssize_t)length : -1;
}

static int fake_close(int fd)
{
    (void)fd;
    return 0;
}

static int fake_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    (void)fd, (void)level, (void)option, (void)value, (void)length;
    return 0;
}

// A path in a verdict is not to be opened here.
int open(const char *path, int flags, ...)
{
    (void)flags;
    errno = strlen(path) <= MAX_VERDICT_PATH ? ENOENT : E2BIG;
    return -1;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    originals_resolve();
    original_socket = fake_socket;
    original_connect = fake_connect;
    original_sendmsg = fake_sendmsg;
    original_ppoll = fake_ppoll;
    original_recv = fake_recv;
    original_close = fake_close;
    original_write = fake_write;
    original_setsockopt = fake_setsockopt;
    setenv("KNOCK_LOGLVL", "3", 1);
    return 0;
}

static bool request(uint8_t which, struct session *session, struct verdict *verdict)
{
    static const struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    struct iovec parts[2] = {{"first", 5}, {"and second", 10}};
    switch (which % 5) {
    case 0:
        return control_connect(session, 5, (const struct sockaddr *)&address, sizeof(address), verdict);
    case 1:
        return control_listen(session, 5, "listen", verdict);
    case 2:
        return control_send(session, 5, parts, 2, 15, verdict);
    case 3:
        return control_option(session, 5, 26, "secret", 6, verdict);
    default:
        return control_accepted(session, 5, 6, verdict);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session session = {.fd = -1};
    // On the heap, where a byte beyond it is noticed.
    struct verdict *verdict = malloc(sizeof(*verdict));
    if (size == 0 || !verdict) {
        free(verdict);
        return 0;
    }
    input = data + 1;
    left = size - 1;
    headed = data[0] & HEADED;
    if (request(data[0], &session, verdict)) {
        struct iovec prefix = verdict_prefix(verdict);
        uint8_t copy[MAX_VERDICT_PREFIX];
        if (prefix.iov_len > sizeof(copy) || verdict->head.peer_size > sizeof(verdict->head.peer))
            abort();
        memcpy(copy, prefix.iov_base, prefix.iov_len);
        if (verdict_refuse(verdict) != -1 || errno <= 0)
            abort();
        control_report(&session, (int)verdict->head.error);
        if (session.fd != -1)
            abort();
    } else if (session.fd != -1) {
        abort();
    }
    free(verdict);
    return 0;
}
