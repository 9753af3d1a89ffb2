/* Any descriptor's readiness as an event. */
#ifndef KNOCKIFY_READINESS_H
#define KNOCKIFY_READINESS_H

#include <node_api.h>
#include <stdbool.h>

/* Asked whenever the descriptor is ready: true where JavaScript need not be told. */
typedef bool knk_attention(void *whose, int fd);

/* From now on asks before it tells of a descriptor that JavaScript watches. -ENOSPC beyond a few. */
int knk_attend(napi_env env, int fd, knk_attention *attention, void *whose);
/* Ends all that is asked of `whose`. */
void knk_ignore(napi_env env, const void *whose);

/* Makes `observe`, `add` and `remove` properties of `exports`. */
void knk_export_readiness(napi_env env, napi_value exports);

#endif
