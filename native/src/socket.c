/*
 * Making, binding and listening on sockets with the options a transparent proxy needs (ip(7), ipv6(7), tcp(7)).
 * Node then owns the descriptor: server.listen({fd}) or new net.Socket({fd}).connect().
 * Options are set before bind, where most of them must be; what an option may not do is the kernel's to say.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "addon.h"

/* How an option's value is read: FLAG is set only when true, so that false needs no capability; SWITCH is set as given,
 * for options whose default a system setting may move. */
enum kind { FLAG, SWITCH, NUMBER };

struct option {
  const char *property;
  enum kind kind;
  int64_t minimum, maximum;
  struct name {
    int level, option;
    const char *system_call;
  } v4, v6;
};

#define SAME(level, option) {level, option, "setsockopt(" #option ")"}, {level, option, "setsockopt(" #option ")"}
#define ONE(level, option) {level, option, "setsockopt(" #option ")"}

static const struct option socket_options[] = {
    {"reuseAddress", FLAG, 0, 1, SAME(SOL_SOCKET, SO_REUSEADDR)},
    {"reusePort", FLAG, 0, 1, SAME(SOL_SOCKET, SO_REUSEPORT)},
    {"v6Only", SWITCH, 0, 1, SAME(SOL_IPV6, IPV6_V6ONLY)},
    {"transparent", FLAG, 0, 1, ONE(SOL_IP, IP_TRANSPARENT), ONE(SOL_IPV6, IPV6_TRANSPARENT)},
    {"freebind", FLAG, 0, 1, ONE(SOL_IP, IP_FREEBIND), ONE(SOL_IPV6, IPV6_FREEBIND)},
    {"bindAddressNoPort", FLAG, 0, 1, SAME(SOL_IP, IP_BIND_ADDRESS_NO_PORT)},
    {"mark", NUMBER, 0, UINT32_MAX, SAME(SOL_SOCKET, SO_MARK)},
    {"userTimeoutMs", NUMBER, 0, INT_MAX, SAME(SOL_TCP, TCP_USER_TIMEOUT)},
    {"noDelay", SWITCH, 0, 1, SAME(SOL_TCP, TCP_NODELAY)},
};

/* The kernel's own limits: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT. */
static const struct option keep_alive_options[] = {
    {"idleSec", NUMBER, 1, 32767, SAME(SOL_TCP, TCP_KEEPIDLE)},
    {"intervalSec", NUMBER, 1, 32767, SAME(SOL_TCP, TCP_KEEPINTVL)},
    {"count", NUMBER, 1, 127, SAME(SOL_TCP, TCP_KEEPCNT)},
};

#define SOCKET_OPTION_COUNT (sizeof socket_options / sizeof *socket_options)
#define KEEP_ALIVE_OPTION_COUNT (sizeof keep_alive_options / sizeof *keep_alive_options)
#define SETTING_CAPACITY (SOCKET_OPTION_COUNT + KEEP_ALIVE_OPTION_COUNT + 1)

struct setting {
  struct name name;
  int value;
};

struct settings {
  size_t count;
  struct setting list[SETTING_CAPACITY];
};

static void add_setting(struct settings *settings, struct name name, int value) {
  settings->list[settings->count++] = (struct setting){name, value};
}

static bool read_options(napi_env env, napi_value object, const struct option *options, size_t count, int family,
                         struct settings *settings) {
  for (size_t index = 0; index < count; index++) {
    const struct option *option = &options[index];
    napi_value value;
    bool present, flag;
    int64_t number;
    if (!read_property(env, object, option->property, &value, &present)) return false;
    if (!present) continue;
    if (option->kind == NUMBER) {
      if (!read_integer(env, value, option->property, option->minimum, option->maximum, &number)) return false;
    } else {
      if (!read_boolean(env, value, option->property, &flag)) return false;
      if (option->kind == FLAG && !flag) continue;
      number = flag;
    }
    add_setting(settings, family == AF_INET6 ? option->v6 : option->v4, (int)(uint32_t)number);
  }
  return true;
}

static bool read_keep_alive(napi_env env, napi_value object, int family, struct settings *settings) {
  napi_value keep_alive;
  bool present;
  if (!read_property(env, object, "keepAlive", &keep_alive, &present)) return false;
  if (!present) return true;
  if (!read_object(env, keep_alive, "keepAlive")) return false;
  const struct name name = ONE(SOL_SOCKET, SO_KEEPALIVE);
  add_setting(settings, name, 1);
  return read_options(env, keep_alive, keep_alive_options, KEEP_ALIVE_OPTION_COUNT, family, settings);
}

static bool read_family(napi_env env, napi_value object, int *family) {
  napi_value value;
  bool present;
  int64_t number;
  if (!read_property(env, object, "family", &value, &present)) return false;
  if (!read_integer(env, value, "family", 4, 6, &number)) return false;
  if (number == 5) return throw_range_error(env, "family", "4 or 6");
  *family = number == 6 ? AF_INET6 : AF_INET;
  return true;
}

static bool read_type(napi_env env, napi_value object, int *type) {
  napi_value value;
  bool present, fits;
  char text[8];
  if (!read_property(env, object, "type", &value, &present)) return false;
  if (!present) return true;
  if (!read_text(env, value, "type", text, sizeof text, &fits)) return false;
  if (fits && strcmp(text, "dgram") == 0) *type = SOCK_DGRAM;
  else if (!fits || strcmp(text, "stream") != 0) return throw_range_error(env, "type", "\"stream\" or \"dgram\"");
  return true;
}

napi_value js_createSocket(napi_env env, napi_callback_info info) {
  napi_value options, netns_value;
  struct settings settings = {0};
  int family = AF_UNSPEC, type = SOCK_STREAM, netns_fd = -1;
  bool present;
  const char *system_call;
  TRY(read_arguments(env, info, 1, &options));
  TRY(read_object(env, options, "options"));
  TRY(read_family(env, options, &family));
  TRY(read_type(env, options, &type));
  TRY(read_property(env, options, "netnsFd", &netns_value, &present));
  TRY(read_optional_fd(env, netns_value, "netnsFd", &netns_fd));
  TRY(read_options(env, options, socket_options, SOCKET_OPTION_COUNT, family, &settings));
  TRY(read_keep_alive(env, options, family, &settings));

  const int fd = socket_in_namespace(netns_fd, family, type | SOCK_NONBLOCK, 0, &system_call);
  if (fd < 0) return throw_system_error(env, errno, system_call, NULL);
  for (size_t index = 0; index < settings.count; index++) {
    const struct setting *setting = &settings.list[index];
    if (setsockopt(fd, setting->name.level, setting->name.option, &setting->value, sizeof setting->value) != 0) {
      close_quietly(fd);
      return throw_system_error(env, errno, setting->name.system_call, NULL);
    }
  }
  return fd_result(env, fd);
}

napi_value js_bind(napi_env env, napi_callback_info info) {
  int fd;
  struct sockaddr_storage address;
  socklen_t length;
  char text[ADDRESS_TEXT_CAPACITY], endpoint[ADDRESS_TEXT_CAPACITY + 16];
  TRY(read_fd_and_address(env, info, &fd, &address, &length, text));
  if (bind(fd, (const struct sockaddr *)&address, length) == 0) return undefined_result(env);
  const int error = errno;
  const char *format = address.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u";
  snprintf(endpoint, sizeof endpoint, format, text, (unsigned)ntohs(((struct sockaddr_in *)&address)->sin_port));
  return throw_system_error(env, error, "bind", endpoint);
}

napi_value js_listen(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int fd;
  int64_t backlog;
  TRY(read_arguments(env, info, 2, values));
  TRY(read_fd(env, values[0], "fd", &fd));
  TRY(read_integer(env, values[1], "backlog", 0, INT_MAX, &backlog));
  if (listen(fd, (int)backlog) != 0) return throw_system_error(env, errno, "listen", NULL);
  return undefined_result(env);
}
