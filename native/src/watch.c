/*
 * Readiness of a descriptor Node itself refuses (SOCK_SEQPACKET, AF_PACKET), by uv_poll on the environment's own loop.
 * Invariant: a watcher's memory outlives both its libuv handle and its JavaScript object, whichever goes last; after
 * close() or at the environment's end no callback runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "addon.h"

struct watcher {
  uv_poll_t poll;
  napi_env env;
  napi_ref callback;
  /* Strong while open: an open watcher is not garbage even if nobody kept it. */
  napi_ref self;
  napi_async_cleanup_hook_handle cleanup;
  bool closed;
  /* The libuv handle and the JavaScript object. */
  int owners;
};

static const napi_type_tag watcher_tag = {0x6e6f64652d747078, 0x666477617463680a};

static void disown(struct watcher *watcher) {
  if (--watcher->owners == 0) free(watcher);
}

static void on_object_gone(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  disown(data);
}

static void on_handle_closed(uv_handle_t *handle) {
  struct watcher *watcher = handle->data;
  napi_remove_async_cleanup_hook(watcher->cleanup);
  disown(watcher);
}

static void close_watcher(struct watcher *watcher) {
  if (watcher->closed) return;
  watcher->closed = true;
  napi_delete_reference(watcher->env, watcher->callback);
  napi_delete_reference(watcher->env, watcher->self);
  uv_close((uv_handle_t *)&watcher->poll, on_handle_closed);
}

/* Node turns its loop until on_handle_closed has removed the hook, so this library is not unloaded before. */
static void on_environment_end(napi_async_cleanup_hook_handle handle, void *data) {
  (void)handle;
  close_watcher(data);
}

static bool call_back(struct watcher *watcher, int status, int events) {
  napi_env env = watcher->env;
  napi_value function, self, arguments[3];
  TRY(call_ok(env, napi_get_reference_value(env, watcher->callback, &function)));
  TRY(call_ok(env, napi_get_reference_value(env, watcher->self, &self)));
  TRY(call_ok(env, napi_create_int32(env, status, &arguments[0])));
  TRY(call_ok(env, napi_get_boolean(env, (events & UV_READABLE) != 0, &arguments[1])));
  TRY(call_ok(env, napi_get_boolean(env, (events & UV_WRITABLE) != 0, &arguments[2])));
  return call_ok(env, napi_make_callback(env, NULL, self, function, 3, arguments, NULL));
}

static void on_ready(uv_poll_t *poll, int status, int events) {
  struct watcher *watcher = poll->data;
  napi_env env = watcher->env;
  napi_handle_scope scope;
  napi_value exception;
  bool pending = false;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  if (!call_back(watcher, status, events) && napi_is_exception_pending(env, &pending) == napi_ok && pending &&
      napi_get_and_clear_last_exception(env, &exception) == napi_ok) {
    napi_fatal_exception(env, exception);
  }
  napi_close_handle_scope(env, scope);
}

static bool read_events(napi_env env, napi_value value, int *events) {
  char text[8];
  bool fits;
  if (!read_text(env, value, "events", text, sizeof text, &fits)) return false;
  if (fits && strcmp(text, "r") == 0) *events = UV_READABLE;
  else if (fits && strcmp(text, "w") == 0) *events = UV_WRITABLE;
  else if (fits && strcmp(text, "rw") == 0) *events = UV_READABLE | UV_WRITABLE;
  else if (fits && strcmp(text, "none") == 0) *events = 0;
  else return throw_range_error(env, "events", "\"r\", \"w\", \"rw\" or \"none\"");
  return true;
}

static bool set_events(napi_env env, struct watcher *watcher, int events) {
  const int error = events ? uv_poll_start(&watcher->poll, events, on_ready) : uv_poll_stop(&watcher->poll);
  return error == 0 || throw_system_error(env, -error, events ? "uv_poll_start" : "uv_poll_stop", NULL);
}

/* The watcher a method was called on; the tag keeps foreign objects out. */
static struct watcher *this_watcher(napi_env env, napi_callback_info info, size_t count, napi_value *arguments) {
  napi_value self;
  napi_valuetype type;
  bool tagged = false;
  void *data;
  TRY(call_ok(env, napi_get_cb_info(env, info, &count, arguments, &self, NULL)));
  TRY(call_ok(env, napi_typeof(env, self, &type)));
  if (type == napi_object) TRY(call_ok(env, napi_check_object_type_tag(env, self, &watcher_tag, &tagged)));
  if (!tagged) return (void *)throw_type_error(env, "this", "a watcher");
  TRY(call_ok(env, napi_unwrap(env, self, &data)));
  return data;
}

static napi_value watcher_close(napi_env env, napi_callback_info info) {
  struct watcher *watcher = this_watcher(env, info, 0, NULL);
  TRY(watcher);
  close_watcher(watcher);
  return undefined_result(env);
}

static napi_value watcher_ref(napi_env env, napi_callback_info info) {
  struct watcher *watcher = this_watcher(env, info, 0, NULL);
  TRY(watcher);
  if (!watcher->closed) uv_ref((uv_handle_t *)&watcher->poll);
  return undefined_result(env);
}

static napi_value watcher_unref(napi_env env, napi_callback_info info) {
  struct watcher *watcher = this_watcher(env, info, 0, NULL);
  TRY(watcher);
  if (!watcher->closed) uv_unref((uv_handle_t *)&watcher->poll);
  return undefined_result(env);
}

static napi_value watcher_set_events(napi_env env, napi_callback_info info) {
  napi_value value;
  int events;
  struct watcher *watcher = this_watcher(env, info, 1, &value);
  TRY(watcher);
  TRY(read_events(env, value, &events));
  if (watcher->closed) return throw_system_error(env, EBADF, "uv_poll_start", NULL);
  TRY(set_events(env, watcher, events));
  return undefined_result(env);
}

/* The JavaScript object, owning one share of the watcher. */
static napi_value create_object(napi_env env, struct watcher *watcher) {
  static const napi_property_descriptor methods[] = {
      {"close", NULL, watcher_close, NULL, NULL, NULL, napi_default, NULL},
      {"ref", NULL, watcher_ref, NULL, NULL, NULL, napi_default, NULL},
      {"unref", NULL, watcher_unref, NULL, NULL, NULL, napi_default, NULL},
      {"setEvents", NULL, watcher_set_events, NULL, NULL, NULL, napi_default, NULL},
  };
  napi_value object;
  TRY(call_ok(env, napi_create_object(env, &object)));
  TRY(call_ok(env, napi_define_properties(env, object, sizeof methods / sizeof *methods, methods)));
  TRY(call_ok(env, napi_type_tag_object(env, object, &watcher_tag)));
  TRY(call_ok(env, napi_wrap(env, object, watcher, on_object_gone, NULL, NULL)));
  watcher->owners++;
  return object;
}

napi_value js_watchFd(napi_env env, napi_callback_info info) {
  napi_value values[3];
  napi_valuetype type;
  uv_loop_t *loop;
  int fd, events;
  TRY(read_arguments(env, info, 3, values));
  TRY(read_fd(env, values[0], "fd", &fd));
  TRY(read_events(env, values[1], &events));
  TRY(call_ok(env, napi_typeof(env, values[2], &type)));
  if (type != napi_function) return throw_type_error(env, "callback", "a function");
  TRY(call_ok(env, napi_get_uv_event_loop(env, &loop)));

  struct watcher *watcher = calloc(1, sizeof *watcher);
  if (!watcher) return throw_system_error(env, ENOMEM, "calloc", NULL);
  watcher->env = env;
  const int error = uv_poll_init(loop, &watcher->poll, fd);
  if (error != 0) {
    free(watcher);
    return throw_system_error(env, -error, "uv_poll_init", NULL);
  }
  watcher->poll.data = watcher;
  watcher->owners = 1;
  /* From here on close_watcher undoes everything; it accepts references that were never made. */
  napi_value object = create_object(env, watcher);
  if (object && call_ok(env, napi_create_reference(env, object, 1, &watcher->self)) &&
      call_ok(env, napi_create_reference(env, values[2], 1, &watcher->callback)) &&
      call_ok(env, napi_add_async_cleanup_hook(env, on_environment_end, watcher, &watcher->cleanup)) &&
      set_events(env, watcher, events)) {
    return object;
  }
  close_watcher(watcher);
  return NULL;
}
