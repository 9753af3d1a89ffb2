// The calls of sys.c, sequences.c, reading.c and closing.c as the addon's functions. What is done with a descriptor that a client
// has handed over is done by a hand.
#include "calls.h"

#include "behind.h"
#include "closing.h"
#include "handed.h"
#include "hands.h"
#include "reading.h"
#include "sequences.h"
#include "sys.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#define UNUSED __attribute__((unused))

/* Up to three numbers and some bytes are enough for every call that JavaScript makes without the FFI. */
#define CALL(name) static int call_##name(UNUSED const int32_t *n, UNUSED void *bytes, UNUSED int length)

CALL(socket) { return knk_socket(n[0], n[1], n[2]); }
CALL(listen) { return knk_listen(n[0], n[1]); }
CALL(close) { return knk_close(n[0]); }
CALL(release) {
  knk_release(n[0]);
  return 0;
}
CALL(hands_behind) { return knk_hands_behind(); }
CALL(read_later) { return knk_read_later(n[0], n[1]); }
CALL(bind) { return knk_bind(n[0], bytes, length); }
CALL(connect) { return knk_connect(n[0], bytes, length); }
CALL(disconnect) { return knk_disconnect(n[0]); }
CALL(send) { return knk_send(n[0], bytes, length); }
CALL(peek) { return knk_peek(n[0], bytes, length); }
CALL(getsockname) { return knk_getsockname(n[0], bytes, length); }
CALL(getpeername) { return knk_getpeername(n[0], bytes, length); }
CALL(set) { return knk_setsockopt(n[0], n[1], n[2], bytes, length); }
CALL(get) { return knk_getsockopt(n[0], n[1], n[2], bytes, length); }
CALL(socket_filter) { return knk_socket_filter(n[0]); }
CALL(drop_all) { return knk_drop_all(n[0]); }
CALL(drops_all) { return knk_drops_all(n[0]); }
CALL(write_isn) { return knk_write_isn(n[0], (uint32_t)n[1]); }
CALL(read_receive_sequence) {
  return length < (int)sizeof(uint32_t) ? -EINVAL : knk_read_receive_sequence(n[0], bytes);
}

/* A sequence takes a descriptor and the bytes of its struct. */
#define SEQUENCE(name, type) \
  CALL(name) { return length < (int)sizeof(type) ? -EINVAL : knk_##name(n[0], bytes); }

SEQUENCE(look, struct knk_sight)
SEQUENCE(remember, struct knk_deferral)
SEQUENCE(defer, struct knk_deferral)
SEQUENCE(undo_deferral, struct knk_deferral)
SEQUENCE(forbid_deferral, struct knk_deferral)
SEQUENCE(stop_listening, struct knk_deferral)
SEQUENCE(prepare, struct knk_preparation)
SEQUENCE(arm, struct knk_arming)
SEQUENCE(take_back, struct knk_return)
SEQUENCE(settle, struct knk_settlement)
SEQUENCE(pin_port, struct knk_arming)
SEQUENCE(bind_port, struct knk_arming)

/* What the engine does itself where a preparation or an arming fails. */
static int take_back(int fd, int32_t marks) {
  struct knk_return taking = {.marks = marks};

  return knk_take_back(fd, &taking);
}

CALL(late_preparation) { return take_back(n[0], ((struct knk_preparation *)bytes)->marks); }
CALL(late_arming) { return take_back(n[0], ((struct knk_arming *)bytes)->marks); }

struct known_call {
  const char *name;
  knk_call *call;
  /* Nothing of a client's socket: such a call is made at once. Others are where nobody has handed the descriptor over. */
  bool at_once;
  knk_call *late;
};

static const struct known_call calls[] = {
    {.name = "socket", .call = call_socket, .at_once = true},
    {.name = "close", .call = call_close, .at_once = true},
    {.name = "release", .call = call_release, .at_once = true},
    {.name = "handsBehind", .call = call_hands_behind, .at_once = true},
    {.name = "readLater", .call = call_read_later, .at_once = true},
    {.name = "tcpListen", .call = call_listen},
    {.name = "bind", .call = call_bind},
    {.name = "tcpConnect", .call = call_connect},
    {.name = "disconnect", .call = call_disconnect},
    {.name = "tcpSend", .call = call_send},
    {.name = "peek", .call = call_peek},
    {.name = "getsockname", .call = call_getsockname},
    {.name = "getpeername", .call = call_getpeername},
    {.name = "setsockopt", .call = call_set},
    {.name = "getsockopt", .call = call_get},
    {.name = "socketFilter", .call = call_socket_filter},
    {.name = "dropAll", .call = call_drop_all},
    {.name = "dropsAll", .call = call_drops_all},
    {.name = "writeIsn", .call = call_write_isn},
    {.name = "readReceiveSequence", .call = call_read_receive_sequence},
    {.name = "look", .call = call_look},
    {.name = "remember", .call = call_remember},
    {.name = "defer", .call = call_defer},
    {.name = "undoDeferral", .call = call_undo_deferral},
    {.name = "forbidDeferral", .call = call_forbid_deferral},
    {.name = "stopListening", .call = call_stop_listening},
    {.name = "prepare", .call = call_prepare, .late = call_late_preparation},
    {.name = "arm", .call = call_arm, .late = call_late_arming},
    {.name = "takeBack", .call = call_take_back},
    {.name = "settle", .call = call_settle},
    {.name = "pinPort", .call = call_pin_port},
    {.name = "bindPort", .call = call_bind_port},
};

static int make(const struct known_call *known, const int32_t *numbers, void *bytes, int length) {
  struct knk_work work = {.call = known->call, .late = known->late};

  if (known->at_once || !knk_is_handed(numbers[0], &work.uid)) return known->call(numbers, bytes, length);
  return knk_by_hand(&work, numbers, bytes, length);
}

/* Numbers in their order, and the bytes among them. */
static napi_value enter(napi_env env, napi_callback_info info) {
  napi_value values[KNK_NUMBERS], result;
  size_t count = KNK_NUMBERS, length = 0, given = 0;
  int32_t numbers[KNK_NUMBERS] = {-1, -1, -1, -1};
  void *bytes = NULL, *known;

  napi_get_cb_info(env, info, &count, values, NULL, &known);
  for (size_t i = 0; i < count && i < KNK_NUMBERS; i++) {
    bool buffer = false;
    napi_is_buffer(env, values[i], &buffer);
    if (buffer)
      napi_get_buffer_info(env, values[i], &bytes, &length);
    else if (napi_get_value_int32(env, values[i], &numbers[given]) == napi_ok)
      given++;
  }
  napi_create_int32(env, make(known, numbers, bytes, (int)length), &result);
  return result;
}

void knk_export_calls(napi_env env, napi_value exports) {
  for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
    napi_value function;
    napi_create_function(env, calls[i].name, NAPI_AUTO_LENGTH, enter, (void *)&calls[i], &function);
    napi_set_named_property(env, exports, calls[i].name, function);
  }
}
