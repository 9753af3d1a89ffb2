// prompt.c for JavaScript; ts/sys/prompt.ts has the types. Results are those of the functions of prompt.h.
#include "prompt_addon.h"

#include "prompt.h"
#include "readiness.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

enum { MOST_ARGUMENTS = 5 };

/* What a call was given, each kind in its order. */
struct given {
  struct prompt *prompt;
  void *bytes[2];
  size_t lengths[2];
  int32_t numbers[2];
};

static napi_value number(napi_env env, int value) {
  napi_value result;

  napi_create_int32(env, value, &result);
  return result;
}

static struct given arguments(napi_env env, napi_callback_info info) {
  struct given given = {0};
  napi_value values[MOST_ARGUMENTS];
  size_t count = MOST_ARGUMENTS, buffers = 0, numbers = 0;

  napi_get_cb_info(env, info, &count, values, NULL, NULL);
  for (size_t i = 0; i < count && i < MOST_ARGUMENTS; i++) {
    napi_valuetype type;
    napi_typeof(env, values[i], &type);
    if (type == napi_external) napi_get_value_external(env, values[i], (void **)&given.prompt);
    else if (type == napi_number && numbers < 2) napi_get_value_int32(env, values[i], &given.numbers[numbers++]);
    else if (buffers < 2) {
      napi_get_buffer_info(env, values[i], &given.bytes[buffers], &given.lengths[buffers]);
      buffers++;
    }
  }
  return given;
}

/* make(struct knk_places): the prompt, or -ENOMEM. */
static napi_value make(napi_env env, napi_callback_info info) {
  struct prompt *prompt = knk_prompt_make(arguments(env, info).bytes[0]);
  napi_value result;
  if (!prompt) return number(env, -ENOMEM);

  napi_create_external(env, prompt, NULL, NULL, &result);
  return result;
}

/* descriptor(prompt) */
static napi_value descriptor(napi_env env, napi_callback_info info) {
  return number(env, knk_prompt_descriptor(arguments(env, info).prompt));
}

/* teach(prompt, question, log level, secret) */
static napi_value teach(napi_env env, napi_callback_info info) {
  struct given given = arguments(env, info);
  if (given.lengths[0] != KNK_SECRET) return number(env, -EINVAL);

  knk_prompt_teach(given.prompt, (uint32_t)given.numbers[0], (uint32_t)given.numbers[1], given.bytes[0]);
  return number(env, 0);
}

/* forget(prompt) */
static napi_value forget(napi_env env, napi_callback_info info) {
  knk_prompt_forget(arguments(env, info).prompt);
  return number(env, 0);
}

/* clients(prompt, user) */
static napi_value clients(napi_env env, napi_callback_info info) {
  struct given given = arguments(env, info);

  return number(env, knk_prompt_clients(given.prompt, (uint32_t)given.numbers[0]));
}

/* elsewhere(prompt, user, clients) */
static napi_value elsewhere(napi_env env, napi_callback_info info) {
  struct given given = arguments(env, info);

  return number(env, knk_prompt_elsewhere(given.prompt, (uint32_t)given.numbers[0], given.numbers[1]));
}

/* answered(prompt) */
static napi_value answered(napi_env env, napi_callback_info info) {
  napi_value result;

  napi_create_double(env, (double)knk_prompt_answered(arguments(env, info).prompt), &result);
  return result;
}

struct attended {
  struct prompt *prompt;
  int listener;
  int most;
};

static bool attend(void *whose, int fd) {
  const struct attended *attended = whose;

  return knk_prompt_attend(attended->prompt, fd == attended->listener ? fd : -1, attended->most);
}

/* attend(prompt, listener, most of one user): what to `ignore`, or -errno */
static napi_value begin(napi_env env, napi_callback_info info) {
  struct given given = arguments(env, info);
  napi_value result;
  struct attended *attended = malloc(sizeof(*attended));
  if (!attended) return number(env, -ENOMEM);

  *attended = (struct attended){given.prompt, given.numbers[0], given.numbers[1]};
  int failed = knk_attend(env, attended->listener, attend, attended);
  if (!failed) failed = knk_attend(env, knk_prompt_descriptor(given.prompt), attend, attended);
  if (!failed) {
    napi_create_external(env, attended, NULL, NULL, &result);
    return result;
  }
  knk_ignore(env, attended);
  free(attended);
  return number(env, failed);
}

/* ignore(what attend returned) */
static napi_value end(napi_env env, napi_callback_info info) {
  struct attended *attended = (struct attended *)arguments(env, info).prompt;

  knk_ignore(env, attended);
  free(attended);
  return number(env, 0);
}

/* accept(prompt, listener, most of one user, buffer, struct knk_left) */
static napi_value accept_clients(napi_env env, napi_callback_info info) {
  struct given given = arguments(env, info);
  struct knk_datagram datagram = {.data = given.bytes[0], .room = given.lengths[0]};

  if (knk_prompt_left(given.prompt, &datagram, given.bytes[1])) return number(env, 1);
  return number(env, knk_prompt_accept(given.prompt, given.numbers[0], given.numbers[1], &datagram, given.bytes[1]));
}

/* hear(prompt, buffer, struct knk_left) */
static napi_value hear(napi_env env, napi_callback_info info) {
  struct given given = arguments(env, info);
  struct knk_datagram datagram = {.data = given.bytes[0], .room = given.lengths[0]};

  if (knk_prompt_left(given.prompt, &datagram, given.bytes[1])) return number(env, 1);
  return number(env, knk_prompt_hear(given.prompt, &datagram, given.bytes[1]));
}

/* overdue(prompt, milliseconds, struct knk_left) */
static napi_value overdue(napi_env env, napi_callback_info info) {
  struct given given = arguments(env, info);

  return number(env, knk_prompt_overdue(given.prompt, given.numbers[0], given.bytes[0]));
}

/* close(prompt) */
static napi_value close_prompt(napi_env env, napi_callback_info info) {
  knk_prompt_close(arguments(env, info).prompt);
  return number(env, 0);
}

void knk_export_prompt(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {
      {"make", make},   {"descriptor", descriptor}, {"teach", teach},   {"attend", begin},      {"ignore", end},
      {"accept", accept_clients}, {"hear", hear},   {"overdue", overdue}, {"close", close_prompt},
      {"clients", clients},       {"elsewhere", elsewhere}, {"answered", answered},
      {"forget", forget},
  };
  napi_value prompt;
  napi_create_object(env, &prompt);
  napi_set_named_property(env, exports, "prompt", prompt);
  for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
    napi_value function;
    napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
    napi_set_named_property(env, prompt, functions[i].name, function);
  }
}
