/* Any descriptor's readiness as an event. */
#ifndef KNOCKIFY_READINESS_H
#define KNOCKIFY_READINESS_H

#include <node_api.h>

/* Makes `observe`, `add` and `remove` properties of `exports`. */
void knk_export_readiness(napi_env env, napi_value exports);

#endif
