/*
 * The addon's door: puts every function of the list in addon.h on the exports object.
 * Context-aware, with no state of its own, so it loads any number of times, in worker threads too.
 */
#include "addon.h"

static void release_thread(void *env) {
  (void)env;
  namespace_thread_release();
}

NAPI_MODULE_INIT() {
#define DESCRIBE_FUNCTION(name) {#name, NULL, js_##name, NULL, NULL, NULL, napi_enumerable, NULL},
  const napi_property_descriptor functions[] = {ADDON_FUNCTIONS(DESCRIBE_FUNCTION)};
  if (!call_ok(env, napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions))) return NULL;
  if (!call_ok(env, napi_add_env_cleanup_hook(env, release_thread, env))) return NULL;
  namespace_thread_retain();
  return exports;
}
