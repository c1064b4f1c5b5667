/*
 * Giving the allocator's free pages back to the system (malloc_trim(3)).
 */
#include <malloc.h>

#include "addon.h"

napi_value js_trimMemory(napi_env env, napi_callback_info info) {
  napi_value result;
  (void)info;
#ifdef __GLIBC__
  const bool trimmed = malloc_trim(0) != 0;
#else
  const bool trimmed = false;
#endif
  TRY(call_ok(env, napi_get_boolean(env, trimmed, &result)));
  return result;
}
