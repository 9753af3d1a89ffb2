// The descriptor channel: what Node's own sockets can't do. SOCK_SEQPACKET Unix sockets that carry descriptors
// (SCM_RIGHTS) and say who the peer is (SO_PEERCRED).
// Functions return -errno; ts/sys/channel.ts turns that into its error class.
#define _GNU_SOURCE
#include "channel.h"

#include "calls.h"
#include "closing.h"
#include "handed.h"
#include "prompt_addon.h"
#include "readiness.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <node_api.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Twice as many as a user may have clients. Each datagram may bring KNK_MOST_DESCRIPTORS more. */
enum { MOST_RELEASING = 1000 };

static napi_value number(napi_env env, int value)
{
    napi_value result;
    napi_create_int32(env, value, &result);
    return result;
}

static int argument(napi_env env, napi_value value)
{
    int32_t result = -1;
    napi_get_value_int32(env, value, &result);
    return result;
}

static int unix_address(napi_env env, napi_value path, struct sockaddr_un *address)
{
    size_t length = 0;
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (napi_get_value_string_utf8(env, path, NULL, 0, &length) != napi_ok || length == 0)
        return -EINVAL;
    if (length >= sizeof(address->sun_path))
        return -ENAMETOOLONG;
    napi_get_value_string_utf8(env, path, address->sun_path, sizeof(address->sun_path), &length);
    return 0;
}

// Makes a socket for the path that is the call's one argument, and uses it: the descriptor, or -errno.
static napi_value unix_socket(napi_env env, napi_callback_info info, int (*use)(int fd, const struct sockaddr_un *address))
{
    size_t argc = 1;
    napi_value argv[1];
    struct sockaddr_un address;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    int failed = unix_address(env, argv[0], &address);
    if (failed)
        return number(env, failed);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return number(env, -errno);
    failed = use(fd, &address);
    if (failed) {
        close(fd);
        return number(env, failed);
    }
    return number(env, fd);
}

static int bind_and_listen(int fd, const struct sockaddr_un *address)
{
    mode_t mask = umask(0177);
    int bound = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = errno;
    umask(mask);
    if (bound < 0)
        return -error;
    return listen(fd, 4096) < 0 ? -errno : 0;
}

static int connect_to(int fd, const struct sockaddr_un *address)
{
    return connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

// listen(path): a listening descriptor. The file is born without permissions for others.
static napi_value channel_listen(napi_env env, napi_callback_info info)
{
    return unix_socket(env, info, bind_and_listen);
}

// connect(path): a connected descriptor.
static napi_value channel_connect(napi_env env, napi_callback_info info)
{
    return unix_socket(env, info, connect_to);
}

int knk_accept(int listener, struct ucred *identity)
{
    socklen_t size = sizeof(*identity);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, identity, &size) == 0) {
        knk_handed_by(fd, identity->uid);
        return fd;
    }
    int error = errno;
    close(fd);
    return -error;
}

int knk_receive(int fd, struct knk_datagram *datagram)
{
    union {
        struct cmsghdr align;
        // After knk_hang_up, credentials come as well.
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(KNK_MOST_DESCRIPTORS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = datagram->data, .iov_len = datagram->room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    uid_t uid;
    datagram->count = 0;
    if (knk_is_connection(fd, &uid) && knk_releasing(uid) >= MOST_RELEASING)
        return -EDQUOT;
    ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0)
        return -errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        int sent = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < sent && datagram->count < KNK_MOST_DESCRIPTORS; i++) {
            int *received = &datagram->descriptors[datagram->count++];
            memcpy(received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            knk_handed_over(fd, *received);
        }
    }
    return message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EMSGSIZE : (int)length;
}

int knk_hang_up(int fd)
{
    int on = 1;
    shutdown(fd, SHUT_RD);
    // An empty datagram looks like the end, but for the credentials that find no room.
    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
    for (int i = 0; i < 2; i++) {
        struct msghdr message = {0};
        // The first result may be an error of the peer's end.
        if (recvmsg(fd, &message, MSG_DONTWAIT | MSG_PEEK) < 0)
            continue;
        if (message.msg_flags & MSG_CTRUNC)
            return 1;
        break;
    }
    return knk_close(fd);
}

// accept(fd, Int32Array(3) for pid, uid and gid): the client's descriptor.
static napi_value channel_accept(napi_env env, napi_callback_info info)
{
    size_t argc = 2;
    napi_value argv[2];
    int32_t *identity;
    struct ucred credentials;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    if (napi_get_typedarray_info(env, argv[1], NULL, NULL, (void **)&identity, NULL, NULL) != napi_ok)
        return number(env, -EINVAL);
    int fd = knk_accept(argument(env, argv[0]), &credentials);
    if (fd < 0)
        return number(env, fd);
    identity[0] = credentials.pid;
    identity[1] = (int32_t)credentials.uid;
    identity[2] = (int32_t)credentials.gid;
    return number(env, fd);
}

// receive(fd, buffer, Int32Array(1 + 253) for the count of descriptors and themselves): bytes of the datagram,
// 0 at the end.
static napi_value channel_receive(napi_env env, napi_callback_info info)
{
    size_t argc = 3;
    napi_value argv[3];
    int32_t *descriptors;
    struct knk_datagram datagram;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    if (napi_get_buffer_info(env, argv[1], &datagram.data, &datagram.room) != napi_ok ||
        napi_get_typedarray_info(env, argv[2], NULL, NULL, (void **)&descriptors, NULL, NULL) != napi_ok)
        return number(env, -EINVAL);
    int length = knk_receive(argument(env, argv[0]), &datagram);
    descriptors[0] = datagram.count;
    memcpy(&descriptors[1], datagram.descriptors, (size_t)datagram.count * sizeof(int));
    return number(env, length);
}

// hangUp(fd): closes a connection, soon if something was sent on it that nobody has received.
static napi_value channel_hang_up(napi_env env, napi_callback_info info)
{
    size_t argc = 1;
    napi_value argv[1];
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    int fd = argument(env, argv[0]);
    int result = knk_hang_up(fd);
    if (result == 1)
        knk_release_connection(fd);
    return number(env, result == 1 ? 0 : result);
}

// releasing(uid): how many of a user's descriptors are not closed yet.
static napi_value channel_releasing(napi_env env, napi_callback_info info)
{
    size_t argc = 1;
    napi_value argv[1];
    uint32_t uid = 0;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    napi_get_value_uint32(env, argv[0], &uid);
    return number(env, knk_releasing(uid));
}

// send(fd, buffer, Int32Array of descriptors, or nothing): 0.
static napi_value channel_send(napi_env env, napi_callback_info info)
{
    size_t argc = 3, length, count = 0;
    napi_value argv[3];
    void *data;
    int32_t *descriptors;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(KNK_MOST_DESCRIPTORS * sizeof(int))];
    } control;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    if (napi_get_buffer_info(env, argv[1], &data, &length) != napi_ok ||
        (argc > 2 && napi_get_typedarray_info(env, argv[2], NULL, &count, (void **)&descriptors, NULL, NULL) != napi_ok) ||
        count > KNK_MOST_DESCRIPTORS)
        return number(env, -EINVAL);
    struct iovec part = {.iov_base = data, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), descriptors, count * sizeof(int));
    }
    ssize_t sent = sendmsg(argument(env, argv[0]), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return number(env, sent < 0 ? -errno : 0);
}

NAPI_MODULE_INIT()
{
    static const struct {
        const char *name;
        napi_callback call;
    } functions[] = {
        {"listen", channel_listen}, {"connect", channel_connect}, {"accept", channel_accept}, {"receive", channel_receive},
        {"send", channel_send},     {"hangUp", channel_hang_up},
        {"releasing", channel_releasing},
    };
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        napi_value function;
        napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
        napi_set_named_property(env, exports, functions[i].name, function);
    }
    knk_export_calls(env, exports);
    knk_export_readiness(env, exports);
    knk_export_prompt(env, exports);
    return exports;
}
