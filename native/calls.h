/* Makes what ts/sys reaches without the FFI properties of `exports`. */
#ifndef KNOCKIFY_CALLS_H
#define KNOCKIFY_CALLS_H

#include <node_api.h>

void knk_export_calls(napi_env env, napi_value exports);

#endif
