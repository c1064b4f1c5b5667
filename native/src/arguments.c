/*
 * Total reading of JavaScript values: a value of the wrong type or range throws an error that names the argument and
 * never reaches a system call; an exception of a getter is passed on.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "addon.h"

bool call_ok(napi_env env, napi_status status) {
  if (status == napi_ok) return true;
  const napi_extended_error_info *details = NULL;
  napi_get_last_error_info(env, &details);
  const char *reason = details && details->error_message ? details->error_message : "Node-API call failed";
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) napi_throw_error(env, "ERR_NODE_API", reason);
  return false;
}

static bool has_type(napi_env env, napi_value value, napi_valuetype expected, bool *matches) {
  napi_valuetype type;
  if (!call_ok(env, napi_typeof(env, value, &type))) return false;
  *matches = type == expected;
  return true;
}

bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  return call_ok(env, napi_get_cb_info(env, info, &count, values, NULL, NULL));
}

bool is_undefined(napi_env env, napi_value value, bool *undefined) {
  return has_type(env, value, napi_undefined, undefined);
}

bool read_integer(napi_env env, napi_value value, const char *name, int64_t minimum, int64_t maximum, int64_t *result) {
  bool is_number;
  double number;
  if (!has_type(env, value, napi_number, &is_number)) return false;
  if (!is_number) return throw_type_error(env, name, "an integer");
  if (!call_ok(env, napi_get_value_double(env, value, &number))) return false;
  /* Written so that NaN fails it. */
  if (!(number >= (double)minimum && number <= (double)maximum) || number != floor(number)) {
    char expected[96];
    snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)minimum, (long long)maximum);
    return throw_range_error(env, name, expected);
  }
  *result = (int64_t)number;
  return true;
}

bool read_fd(napi_env env, napi_value value, const char *name, int *fd) {
  int64_t number;
  if (!read_integer(env, value, name, 0, INT_MAX, &number)) return false;
  *fd = (int)number;
  return true;
}

bool read_optional_fd(napi_env env, napi_value value, const char *name, int *fd) {
  bool undefined;
  *fd = -1;
  if (!is_undefined(env, value, &undefined)) return false;
  return undefined || read_fd(env, value, name, fd);
}

bool read_boolean(napi_env env, napi_value value, const char *name, bool *result) {
  bool matches;
  if (!has_type(env, value, napi_boolean, &matches)) return false;
  if (!matches) return throw_type_error(env, name, "a boolean");
  return call_ok(env, napi_get_value_bool(env, value, result));
}

bool read_text(napi_env env, napi_value value, const char *name, char *text, size_t capacity, bool *fits) {
  bool matches;
  size_t length, copied;
  if (!has_type(env, value, napi_string, &matches)) return false;
  if (!matches) return throw_type_error(env, name, "a string");
  if (!call_ok(env, napi_get_value_string_utf8(env, value, NULL, 0, &length))) return false;
  if (!call_ok(env, napi_get_value_string_utf8(env, value, text, capacity, &copied))) return false;
  if (strlen(text) != copied) return throw_type_error(env, name, "a string without NUL bytes");
  *fits = length < capacity;
  return true;
}

bool read_bytes(napi_env env, napi_value value, const char *name, const uint8_t **bytes, size_t *length) {
  bool is_array;
  napi_typedarray_type type;
  void *data;
  if (!call_ok(env, napi_is_typedarray(env, value, &is_array))) return false;
  if (!is_array) return throw_type_error(env, name, "a Buffer or Uint8Array");
  if (!call_ok(env, napi_get_typedarray_info(env, value, &type, length, &data, NULL, NULL))) return false;
  if (type != napi_uint8_array) return throw_type_error(env, name, "a Buffer or Uint8Array");
  *bytes = data;
  return true;
}

bool read_object(napi_env env, napi_value value, const char *name) {
  bool matches;
  if (!has_type(env, value, napi_object, &matches)) return false;
  return matches || throw_type_error(env, name, "an object");
}

bool read_property(napi_env env, napi_value object, const char *name, napi_value *value, bool *present) {
  bool undefined;
  if (!call_ok(env, napi_get_named_property(env, object, name, value))) return false;
  if (!is_undefined(env, *value, &undefined)) return false;
  *present = !undefined;
  return true;
}

bool set_property(napi_env env, napi_value object, const char *name, napi_value value) {
  return call_ok(env, napi_set_named_property(env, object, name, value));
}
