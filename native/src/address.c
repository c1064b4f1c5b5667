/*
 * IP literals to socket addresses and back. Literals carry no zone ("%eth0"); a mapped IPv4 address stays IPv6, as the
 * kernel gives it.
 */
#include <arpa/inet.h>
#include <errno.h>

#include "addon.h"

static bool read_address(napi_env env, napi_value address, napi_value port, struct sockaddr_storage *result,
                         socklen_t *length, char text[ADDRESS_TEXT_CAPACITY]) {
  bool fits;
  int64_t number;
  if (!read_text(env, address, "address", text, ADDRESS_TEXT_CAPACITY, &fits)) return false;
  if (!read_integer(env, port, "port", 0, 65535, &number)) return false;
  *result = (struct sockaddr_storage){0};
  struct sockaddr_in *v4 = (struct sockaddr_in *)result;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)result;
  if (fits && inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)number);
    *length = sizeof *v4;
    return true;
  }
  if (fits && inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)number);
    *length = sizeof *v6;
    return true;
  }
  return throw_system_error(env, EINVAL, "inet_pton", text);
}

bool read_fd_and_address(napi_env env, napi_callback_info info, int *fd, struct sockaddr_storage *address,
                         socklen_t *length, char text[ADDRESS_TEXT_CAPACITY]) {
  napi_value values[3];
  return read_arguments(env, info, 3, values) && read_fd(env, values[0], "fd", fd) &&
         read_address(env, values[1], values[2], address, length, text);
}

napi_value address_result(napi_env env, const struct sockaddr_storage *address, const char *system_call) {
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
  char text[INET6_ADDRSTRLEN];
  uint16_t port;
  int family;
  if (address->ss_family == AF_INET) {
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    port = ntohs(v4->sin_port);
    family = 4;
  } else if (address->ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    port = ntohs(v6->sin6_port);
    family = 6;
  } else {
    return throw_system_error(env, EAFNOSUPPORT, system_call, NULL);
  }
  napi_value result, text_value, port_value, family_value;
  TRY(call_ok(env, napi_create_object(env, &result)));
  TRY(call_ok(env, napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &text_value)));
  TRY(call_ok(env, napi_create_uint32(env, port, &port_value)));
  TRY(call_ok(env, napi_create_int32(env, family, &family_value)));
  TRY(set_property(env, result, "address", text_value));
  TRY(set_property(env, result, "port", port_value));
  TRY(set_property(env, result, "family", family_value));
  return result;
}
