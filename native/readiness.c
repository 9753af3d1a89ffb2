// One epoll set for all descriptors that JavaScript watches, itself watched by the event loop: a handle of the loop's for
// each of them would cost several times what a short session with a client takes.
// Functions return -errno; ts/sys/channel.ts turns that into its error class.
#define _GNU_SOURCE
#include "readiness.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

enum { MOST_EVENTS = 64, MOST_ATTENTIONS = 4 };

// What is attended to seldom comes alone, and the way by the event loop takes longer than to attend to it. So the next event is
// waited for at once, so long at most, and the loop and its timers get their turn after so long. Milliseconds. A wait that
// ends before the kernel's next tick (4 ms) would cost a timer interrupt of its own.
enum { SOON = 5, TURN = 10 };

struct attention {
    knk_attention *attention; // NULL: none
    void *whose;
    int fd;
};

struct set {
    uv_poll_t poll;
    napi_env env;
    int descriptor;
    size_t watched;
    struct attention attentions[MOST_ATTENTIONS];
    int32_t *ready; // an Int32Array of JavaScript's
    size_t room;
    napi_ref array;
    napi_ref callback;
    napi_async_context context;
    napi_async_cleanup_hook_handle at_end;
};

static napi_value number(napi_env env, int value)
{
    napi_value result;
    napi_create_int32(env, value, &result);
    return result;
}

static void on_closed(uv_handle_t *handle)
{
    struct set *set = (struct set *)handle;
    close(set->descriptor);
    napi_remove_async_cleanup_hook(set->at_end);
    free(set);
}

// A worker thread ends: its loop must have no handle left then.
static void on_end(napi_async_cleanup_hook_handle hook, void *set)
{
    (void)hook;
    uv_close(set, on_closed);
}

static bool is_attended_to(struct set *set, int fd)
{
    for (int i = 0; i < MOST_ATTENTIONS; i++) {
        const struct attention *one = &set->attentions[i];
        if (one->attention && one->fd == fd && one->attention(one->whose, fd))
            return true;
    }
    return false;
}

// How many are ready for JavaScript. 0 only after a while without events, or one with nothing but such as are attended to.
static int look(struct set *set)
{
    struct epoll_event found[MOST_EVENTS];
    int told = 0, count, patience = 0, room = set->room < MOST_EVENTS ? (int)set->room : MOST_EVENTS;
    uint64_t end = uv_hrtime() + TURN * 1000000ULL;
    do {
        count = epoll_wait(set->descriptor, found, room, patience);
        for (int i = 0; i < count; i++)
            if (!is_attended_to(set, found[i].data.fd))
                set->ready[told++] = found[i].data.fd;
        patience = SOON;
    } while (told == 0 && count > 0 && uv_hrtime() < end);
    return told;
}

// After an error of a descriptor's, too: whoever tries to use it then is told.
static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct set *set = (struct set *)poll;
    int told = look(set);
    if (told == 0)
        return;
    napi_env env = set->env;
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    napi_value callback, receiver, result, length = number(env, told);
    napi_get_reference_value(env, set->callback, &callback);
    napi_get_global(env, &receiver);
    if (napi_make_callback(env, set->context, receiver, callback, 1, &length, &result) == napi_pending_exception) {
        napi_value error;
        napi_get_and_clear_last_exception(env, &error);
        napi_fatal_exception(env, error);
    }
    napi_close_handle_scope(env, scope);
}

// observe(Int32Array, callback): to be called once. From then on the callback is told how many of the descriptors that were
// added are ready; the array holds their numbers.
static napi_value observe(napi_env env, napi_callback_info info)
{
    size_t argc = 2;
    napi_value argv[2], name;
    uv_loop_t *loop;
    struct set *set = calloc(1, sizeof(*set));
    if (!set)
        return number(env, -ENOMEM);
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    napi_get_uv_event_loop(env, &loop);
    set->env = env;
    set->descriptor = epoll_create1(EPOLL_CLOEXEC);
    int failed = set->descriptor < 0 ? -errno : uv_poll_init(loop, &set->poll, set->descriptor);
    if (failed || napi_get_typedarray_info(env, argv[0], NULL, &set->room, (void **)&set->ready, NULL, NULL) != napi_ok) {
        if (set->descriptor >= 0)
            close(set->descriptor);
        free(set);
        return number(env, failed ? failed : -EINVAL);
    }
    napi_create_reference(env, argv[0], 1, &set->array);
    napi_create_reference(env, argv[1], 1, &set->callback);
    napi_create_string_utf8(env, "knockify:readiness", NAPI_AUTO_LENGTH, &name);
    napi_async_init(env, NULL, name, &set->context);
    napi_add_async_cleanup_hook(env, on_end, set, &set->at_end);
    napi_set_instance_data(env, set, NULL, NULL);
    return number(env, 0);
}

// What keeps the event loop alive is a descriptor to watch, not the set.
static int change(struct set *set, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(set->descriptor, operation, fd, &event) < 0)
        return -errno;
    set->watched += operation == EPOLL_CTL_ADD ? 1 : (size_t)-1;
    if (operation == EPOLL_CTL_ADD && set->watched == 1)
        return uv_poll_start(&set->poll, UV_READABLE, on_ready);
    return set->watched == 0 ? uv_poll_stop(&set->poll) : 0;
}

// add(fd, writable): ready when it is readable (or at its end), or writable if that is asked for.
static napi_value add(napi_env env, napi_callback_info info)
{
    size_t argc = 2;
    napi_value argv[2];
    struct set *set;
    int32_t fd = -1;
    bool writable = false;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    napi_get_instance_data(env, (void **)&set);
    napi_get_value_int32(env, argv[0], &fd);
    napi_get_value_bool(env, argv[1], &writable);
    return number(env, change(set, EPOLL_CTL_ADD, fd, writable ? EPOLLOUT : EPOLLIN));
}

// remove(fd): to be called before the descriptor is closed.
static napi_value remove_one(napi_env env, napi_callback_info info)
{
    size_t argc = 1;
    napi_value argv[1];
    struct set *set;
    int32_t fd = -1;
    napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
    napi_get_instance_data(env, (void **)&set);
    napi_get_value_int32(env, argv[0], &fd);
    return number(env, change(set, EPOLL_CTL_DEL, fd, 0));
}

int knk_attend(napi_env env, int fd, knk_attention *attention, void *whose)
{
    struct set *set;
    napi_get_instance_data(env, (void **)&set);
    for (int i = 0; set && i < MOST_ATTENTIONS; i++) {
        if (set->attentions[i].attention)
            continue;
        set->attentions[i] = (struct attention){attention, whose, fd};
        return 0;
    }
    return -ENOSPC;
}

void knk_ignore(napi_env env, const void *whose)
{
    struct set *set;
    napi_get_instance_data(env, (void **)&set);
    for (int i = 0; set && i < MOST_ATTENTIONS; i++)
        if (set->attentions[i].whose == whose)
            set->attentions[i] = (struct attention){0};
}

void knk_export_readiness(napi_env env, napi_value exports)
{
    static const struct {
        const char *name;
        napi_callback call;
    } functions[] = {{"observe", observe}, {"add", add}, {"remove", remove_one}};
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        napi_value function;
        napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
        napi_set_named_property(env, exports, functions[i].name, function);
    }
}
