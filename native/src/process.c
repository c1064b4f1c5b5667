/*
 * The two process settings a launcher of helpers needs (prctl(2)).
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>

#include "addon.h"

napi_value js_setPdeathsig(napi_env env, napi_callback_info info) {
  napi_value signal_value;
  int64_t number;
  TRY(read_arguments(env, info, 1, &signal_value));
  TRY(read_integer(env, signal_value, "signal", 0, SIGRTMAX, &number));
  if (prctl(PR_SET_PDEATHSIG, (unsigned long)number) != 0) {
    return throw_system_error(env, errno, "prctl(PR_SET_PDEATHSIG)", NULL);
  }
  return undefined_result(env);
}

napi_value js_setSubreaper(napi_env env, napi_callback_info info) {
  napi_value enabled_value;
  bool enabled;
  TRY(read_arguments(env, info, 1, &enabled_value));
  TRY(read_boolean(env, enabled_value, "enabled", &enabled));
  if (prctl(PR_SET_CHILD_SUBREAPER, (unsigned long)enabled) != 0) {
    return throw_system_error(env, errno, "prctl(PR_SET_CHILD_SUBREAPER)", NULL);
  }
  return undefined_result(env);
}
