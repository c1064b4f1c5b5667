/*
 * How failures reach JavaScript: an Error with `code` ('EPERM'), `errno` (negative, as Node's own errors have it) and
 * `syscall` naming the exact call; programmer's mistakes are TypeError and RangeError with Node's codes.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#include "addon.h"

#define MESSAGE_CAPACITY 512

static napi_value text_value(napi_env env, const char *text) {
  napi_value value;
  return call_ok(env, napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value)) ? value : NULL;
}

napi_value throw_system_error(napi_env env, int error, const char *system_call, const char *detail) {
  char code[64], reason[128], message[MESSAGE_CAPACITY];
  uv_err_name_r(-error, code, sizeof code);
  uv_strerror_r(-error, reason, sizeof reason);
  if (detail) snprintf(message, sizeof message, "%s: %s, %s %s", code, reason, system_call, detail);
  else snprintf(message, sizeof message, "%s: %s, %s", code, reason, system_call);
  napi_value code_value, message_value, call_value, number, failure;
  TRY(code_value = text_value(env, code));
  TRY(message_value = text_value(env, message));
  TRY(call_value = text_value(env, system_call));
  TRY(call_ok(env, napi_create_error(env, code_value, message_value, &failure)));
  TRY(call_ok(env, napi_create_int32(env, -error, &number)));
  TRY(set_property(env, failure, "errno", number));
  TRY(set_property(env, failure, "syscall", call_value));
  call_ok(env, napi_throw(env, failure));
  return NULL;
}

napi_value throw_type_error(napi_env env, const char *name, const char *expected) {
  char message[MESSAGE_CAPACITY];
  snprintf(message, sizeof message, "The \"%s\" argument must be %s", name, expected);
  call_ok(env, napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message));
  return NULL;
}

napi_value throw_range_error(napi_env env, const char *name, const char *expected) {
  char message[MESSAGE_CAPACITY];
  snprintf(message, sizeof message, "The \"%s\" argument must be %s", name, expected);
  call_ok(env, napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message));
  return NULL;
}

napi_value fd_result(napi_env env, int fd) {
  napi_value result;
  if (call_ok(env, napi_create_int32(env, fd, &result))) return result;
  close(fd);
  return NULL;
}

napi_value undefined_result(napi_env env) {
  napi_value result;
  return call_ok(env, napi_get_undefined(env, &result)) ? result : NULL;
}

void close_quietly(int fd) {
  const int error = errno;
  close(fd);
  errno = error;
}
