// The calls of sys.c, sequences.c and reading.c as the addon's functions.
#include "reading.h"
#include "sequences.h"
#include "sys.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

/* Up to three numbers and some bytes are enough for every call that JavaScript makes without the FFI. */
typedef int call(const int32_t *n, void *bytes, int length);

#define UNUSED __attribute__((unused))

enum { MOST_ARGUMENTS = 4 };

static int call_socket(const int32_t *n, UNUSED void *bytes, UNUSED int length) {
  return knk_socket(n[0], n[1] | SOCK_NONBLOCK, n[2]);
}
static int call_listen(const int32_t *n, UNUSED void *bytes, UNUSED int length) { return knk_listen(n[0], n[1]); }
static int call_close(const int32_t *n, UNUSED void *bytes, UNUSED int length) { return knk_close(n[0]); }
static int call_close_at_once(const int32_t *n, UNUSED void *bytes, UNUSED int length) {
  return knk_close_at_once(n[0]);
}
static int call_read_later(const int32_t *n, UNUSED void *bytes, UNUSED int length) {
  return knk_read_later(n[0], n[1]);
}
static int call_bind(const int32_t *n, void *bytes, int length) { return knk_bind(n[0], bytes, length); }
static int call_connect(const int32_t *n, void *bytes, int length) { return knk_connect(n[0], bytes, length); }
static int call_send(const int32_t *n, void *bytes, int length) { return knk_send(n[0], bytes, length); }
static int call_getpeername(const int32_t *n, void *bytes, int length) { return knk_getpeername(n[0], bytes, length); }
static int call_set(const int32_t *n, void *bytes, int length) { return knk_setsockopt(n[0], n[1], n[2], bytes, length); }
static int call_get(const int32_t *n, void *bytes, int length) { return knk_getsockopt(n[0], n[1], n[2], bytes, length); }

/* A sequence takes a descriptor and the bytes of its struct. */
#define SEQUENCE(name, type)                                               \
  static int call_##name(const int32_t *n, void *bytes, int length) {      \
    return length < (int)sizeof(type) ? -EINVAL : knk_##name(n[0], bytes); \
  }

SEQUENCE(look, struct knk_sight)
SEQUENCE(remember, struct knk_deferral)
SEQUENCE(defer, struct knk_deferral)
SEQUENCE(undo_deferral, struct knk_deferral)
SEQUENCE(forbid_deferral, struct knk_deferral)
SEQUENCE(stop_listening, struct knk_deferral)
SEQUENCE(prepare, struct knk_preparation)
SEQUENCE(arm, struct knk_arming)
SEQUENCE(settle, struct knk_settlement)
SEQUENCE(pin_port, struct knk_arming)
SEQUENCE(bind_port, struct knk_arming)

/* Numbers in their order, and the bytes among them. */
static napi_value enter(napi_env env, napi_callback_info info) {
  napi_value values[MOST_ARGUMENTS], result;
  size_t count = MOST_ARGUMENTS, length = 0, given = 0;
  int32_t numbers[MOST_ARGUMENTS] = {-1, -1, -1, -1};
  void *bytes = NULL, *target;

  napi_get_cb_info(env, info, &count, values, NULL, &target);
  for (size_t i = 0; i < count && i < MOST_ARGUMENTS; i++) {
    bool buffer = false;
    napi_is_buffer(env, values[i], &buffer);
    if (buffer)
      napi_get_buffer_info(env, values[i], &bytes, &length);
    else if (napi_get_value_int32(env, values[i], &numbers[given]) == napi_ok)
      given++;
  }
  napi_create_int32(env, (*(call **)target)(numbers, bytes, (int)length), &result);
  return result;
}

void knk_export_calls(napi_env env, napi_value exports) {
  static struct {
    const char *name;
    call *target;
  } calls[] = {
      {"socket", call_socket},              {"close", call_close},                    {"bind", call_bind},
      {"tcpListen", call_listen},           {"tcpSend", call_send},                   {"tcpConnect", call_connect},
      {"getpeername", call_getpeername},    {"setsockopt", call_set},                 {"getsockopt", call_get},
      {"look", call_look},                  {"remember", call_remember},              {"defer", call_defer},
      {"undoDeferral", call_undo_deferral}, {"forbidDeferral", call_forbid_deferral}, {"prepare", call_prepare},
      {"arm", call_arm},                    {"settle", call_settle},                  {"pinPort", call_pin_port},
      {"bindPort", call_bind_port},         {"stopListening", call_stop_listening},
      {"closeAtOnce", call_close_at_once},  {"readLater", call_read_later},
  };
  for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
    napi_value function;
    napi_create_function(env, calls[i].name, NAPI_AUTO_LENGTH, enter, &calls[i].target, &function);
    napi_set_named_property(env, exports, calls[i].name, function);
  }
}
