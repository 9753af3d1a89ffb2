// The descriptor channel: what Node's own sockets can't do. SOCK_SEQPACKET Unix sockets that carry descriptors
// (SCM_RIGHTS) and say who the peer is (SO_PEERCRED), and any descriptor's readiness as an event.
// Functions return -errno; ts/sys/channel.ts turns that into its error class.
#define _GNU_SOURCE
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

enum { MAX_DESCRIPTORS = 4 };

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

// accept(fd, Int32Array(3) for pid, uid and gid): the client's descriptor.
static napi_value channel_accept(napi_env env, napi_callback_info info)
{
    size_t argc = 2;
    napi_value argv[2];
    int32_t *identity;
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    if (napi_get_typedarray_info(env, argv[1], NULL, NULL, (void **)&identity, NULL, NULL) != napi_ok)
        return number(env, -EINVAL);
    int fd = accept4(argument(env, argv[0]), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return number(env, -errno);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) {
        int error = errno;
        close(fd);
        return number(env, -error);
    }
    identity[0] = credentials.pid;
    identity[1] = (int32_t)credentials.uid;
    identity[2] = (int32_t)credentials.gid;
    return number(env, fd);
}

// receive(fd, buffer, Int32Array(1 + 4) for the count of descriptors and themselves): bytes of the datagram,
// 0 at the end. A datagram that was cut, or that brought more descriptors than fit, is -EMSGSIZE and dropped whole.
static napi_value channel_receive(napi_env env, napi_callback_info info)
{
    size_t argc = 3, room;
    napi_value argv[3];
    void *data;
    int32_t *descriptors;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))];
    } control;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    if (napi_get_buffer_info(env, argv[1], &data, &room) != napi_ok ||
        napi_get_typedarray_info(env, argv[2], NULL, NULL, (void **)&descriptors, NULL, NULL) != napi_ok)
        return number(env, -EINVAL);
    struct iovec part = {.iov_base = data, .iov_len = room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t length = recvmsg(argument(env, argv[0]), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0)
        return number(env, -errno);
    int count = 0, held[MAX_DESCRIPTORS];
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        int sent = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < sent && count < MAX_DESCRIPTORS; i++)
            memcpy(&held[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        for (int i = 0; i < count; i++)
            close(held[i]);
        return number(env, -EMSGSIZE);
    }
    descriptors[0] = count;
    memcpy(&descriptors[1], held, count * sizeof(int));
    return number(env, (int)length);
}

// send(fd, buffer, Int32Array of descriptors): 0.
static napi_value channel_send(napi_env env, napi_callback_info info)
{
    size_t argc = 3, length, count = 0;
    napi_value argv[3];
    void *data;
    int32_t *descriptors;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))];
    } control;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    if (napi_get_buffer_info(env, argv[1], &data, &length) != napi_ok ||
        napi_get_typedarray_info(env, argv[2], NULL, &count, (void **)&descriptors, NULL, NULL) != napi_ok ||
        count > MAX_DESCRIPTORS)
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

struct watch {
    uv_poll_t poll;
    napi_env env;
    napi_ref callback;
    napi_async_context context;
    napi_async_cleanup_hook_handle at_end;
};

static void on_closed(uv_handle_t *handle)
{
    napi_remove_async_cleanup_hook(((struct watch *)handle)->at_end);
    free(handle);
}

// A worker thread ends: its loop must have no handle left then.
static void on_end(napi_async_cleanup_hook_handle hook, void *watch)
{
    (void)hook;
    if (!uv_is_closing(watch))
        uv_close(watch, on_closed);
}

// After an error of the descriptor's, too: whoever tries to use it then is told.
static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct watch *watch = (struct watch *)poll;
    napi_env env = watch->env;
    napi_handle_scope scope;
    napi_value callback, receiver, result;
    napi_open_handle_scope(env, &scope);
    napi_get_reference_value(env, watch->callback, &callback);
    napi_get_global(env, &receiver);
    napi_status called = napi_make_callback(env, watch->context, receiver, callback, 0, NULL, &result);
    if (called == napi_pending_exception) {
        napi_value error;
        napi_get_and_clear_last_exception(env, &error);
        napi_fatal_exception(env, error);
    }
    napi_close_handle_scope(env, scope);
}

// watch(fd, callback, writable): a handle; the callback runs whenever the descriptor is readable (or at its end), or
// writable if that is asked for.
static napi_value channel_watch(napi_env env, napi_callback_info info)
{
    size_t argc = 3;
    napi_value argv[3], handle, name;
    uv_loop_t *loop;
    bool writable = false;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    struct watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return number(env, -ENOMEM);
    napi_get_uv_event_loop(env, &loop);
    int failed = uv_poll_init(loop, &watch->poll, argument(env, argv[0]));
    if (failed) {
        free(watch);
        return number(env, failed);
    }
    watch->env = env;
    napi_get_value_bool(env, argv[2], &writable);
    napi_add_async_cleanup_hook(env, on_end, watch, &watch->at_end);
    napi_create_string_utf8(env, "knockify:watch", NAPI_AUTO_LENGTH, &name);
    napi_async_init(env, NULL, name, &watch->context);
    napi_create_reference(env, argv[1], 1, &watch->callback);
    failed = uv_poll_start(&watch->poll, writable ? UV_WRITABLE : UV_READABLE, on_ready);
    if (failed) {
        napi_delete_reference(env, watch->callback);
        napi_async_destroy(env, watch->context);
        uv_close((uv_handle_t *)&watch->poll, on_closed);
        return number(env, failed);
    }
    napi_create_external(env, watch, NULL, NULL, &handle);
    return handle;
}

// unwatch(handle): to be called once, and before the descriptor is closed.
static napi_value channel_unwatch(napi_env env, napi_callback_info info)
{
    size_t argc = 1;
    napi_value argv[1];
    struct watch *watch;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    if (napi_get_value_external(env, argv[0], (void **)&watch) != napi_ok)
        return number(env, -EINVAL);
    uv_poll_stop(&watch->poll);
    napi_delete_reference(env, watch->callback);
    napi_async_destroy(env, watch->context);
    uv_close((uv_handle_t *)&watch->poll, on_closed);
    return number(env, 0);
}

NAPI_MODULE_INIT()
{
    static const struct {
        const char *name;
        napi_callback call;
    } functions[] = {
        {"listen", channel_listen}, {"connect", channel_connect}, {"accept", channel_accept}, {"receive", channel_receive},
        {"send", channel_send},     {"watch", channel_watch},     {"unwatch", channel_unwatch},
    };
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        napi_value function;
        napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
        napi_set_named_property(env, exports, functions[i].name, function);
    }
    knk_export_calls(env, exports);
    return exports;
}
