/*
 * What a socket can be asked: its addresses, where a REDIRECTed connection was going, its mark, its transparency.
 */
#include <errno.h>

#include "addon.h"

/* From linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h, which clash with the C library's headers. */
#define SO_ORIGINAL_DST 80
#define IP6T_SO_ORIGINAL_DST 80

static bool read_only_fd(napi_env env, napi_callback_info info, int *fd) {
  napi_value value;
  return read_arguments(env, info, 1, &value) && read_fd(env, value, "fd", fd);
}

static napi_value name_of(napi_env env, napi_callback_info info, const char *system_call,
                          int (*ask)(int, struct sockaddr *, socklen_t *)) {
  struct sockaddr_storage address = {0};
  socklen_t length = sizeof address;
  int fd;
  TRY(read_only_fd(env, info, &fd));
  if (ask(fd, (struct sockaddr *)&address, &length) != 0) return throw_system_error(env, errno, system_call, NULL);
  return address_result(env, &address, system_call);
}

napi_value js_localAddress(napi_env env, napi_callback_info info) {
  return name_of(env, info, "getsockname", getsockname);
}

napi_value js_peerAddress(napi_env env, napi_callback_info info) {
  return name_of(env, info, "getpeername", getpeername);
}

/* True when conntrack files the connection under IPv6; a mapped address on an IPv6 socket is filed under IPv4. */
static bool is_native_v6(const struct sockaddr_storage *local) {
  return local->ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *)local)->sin6_addr);
}

napi_value js_originalDestination(napi_env env, napi_callback_info info) {
  struct sockaddr_storage local = {0}, original = {0};
  socklen_t local_length = sizeof local, length = sizeof original;
  int fd;
  TRY(read_only_fd(env, info, &fd));
  if (getsockname(fd, (struct sockaddr *)&local, &local_length) != 0) {
    return throw_system_error(env, errno, "getsockname", NULL);
  }
  const bool v6 = is_native_v6(&local);
  const char *system_call = v6 ? "getsockopt(IP6T_SO_ORIGINAL_DST)" : "getsockopt(SO_ORIGINAL_DST)";
  if (local.ss_family != AF_INET && local.ss_family != AF_INET6) {
    return throw_system_error(env, EAFNOSUPPORT, system_call, NULL);
  }
  if (getsockopt(fd, v6 ? SOL_IPV6 : SOL_IP, v6 ? IP6T_SO_ORIGINAL_DST : SO_ORIGINAL_DST, &original, &length) == 0) {
    return address_result(env, &original, system_call);
  }
  /* No entry for this connection, or no connection tracking in this namespace at all. */
  if (errno == ENOENT || errno == ENOPROTOOPT) return undefined_result(env);
  return throw_system_error(env, errno, system_call, NULL);
}

napi_value js_getMark(napi_env env, napi_callback_info info) {
  napi_value result;
  uint32_t mark;
  socklen_t length = sizeof mark;
  int fd;
  TRY(read_only_fd(env, info, &fd));
  if (getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &length) != 0) {
    return throw_system_error(env, errno, "getsockopt(SO_MARK)", NULL);
  }
  TRY(call_ok(env, napi_create_uint32(env, mark, &result)));
  return result;
}

napi_value js_getTransparent(napi_env env, napi_callback_info info) {
  napi_value result;
  int fd, domain, transparent = 0;
  socklen_t length = sizeof domain;
  TRY(read_only_fd(env, info, &fd));
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) {
    return throw_system_error(env, errno, "getsockopt(SO_DOMAIN)", NULL);
  }
  const bool v6 = domain == AF_INET6;
  length = sizeof transparent;
  if (getsockopt(fd, v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &transparent, &length) != 0) {
    return throw_system_error(env, errno, v6 ? "getsockopt(IPV6_TRANSPARENT)" : "getsockopt(IP_TRANSPARENT)", NULL);
  }
  TRY(call_ok(env, napi_get_boolean(env, transparent != 0, &result)));
  return result;
}
