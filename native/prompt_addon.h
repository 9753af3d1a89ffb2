#ifndef KNOCKIFY_PROMPT_ADDON_H
#define KNOCKIFY_PROMPT_ADDON_H

#include <node_api.h>

/* Makes the functions of prompt.h properties of an object `prompt` of `exports`. */
void knk_export_prompt(napi_env env, napi_value exports);

#endif
