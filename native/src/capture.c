/*
 * Packet capture without a library: an AF_PACKET socket of network-layer packets (packet(7)), and interface names.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "addon.h"

/* The longest packet a device hands over, segmentation offload included, stays below this. */
#define MAXIMUM_PACKET (1 << 20)

/* What packetSocket was asked to listen on: a name to be looked up in the socket's namespace, or an index; 0 is all. */
struct interface {
  bool named;
  char name[IFNAMSIZ];
  int index;
};

static bool read_interface(napi_env env, napi_value value, struct interface *interface) {
  napi_valuetype type;
  int64_t index;
  bool fits;
  *interface = (struct interface){0};
  if (!call_ok(env, napi_typeof(env, value, &type))) return false;
  if (type == napi_number) {
    if (!read_integer(env, value, "interface", 1, INT_MAX, &index)) return false;
    interface->index = (int)index;
    return true;
  }
  if (type != napi_string) return throw_type_error(env, "interface", "an interface's index, its name, or \"any\"");
  if (!read_text(env, value, "interface", interface->name, sizeof interface->name, &fits)) return false;
  if (!fits) return throw_system_error(env, ENODEV, "ioctl(SIOCGIFINDEX)", NULL);
  interface->named = strcmp(interface->name, "any") != 0;
  return true;
}

static bool find_index(int fd, struct interface *interface) {
  struct ifreq request = {0};
  if (!interface->named) return true;
  memcpy(request.ifr_name, interface->name, sizeof request.ifr_name);
  if (ioctl(fd, SIOCGIFINDEX, &request) != 0) return false;
  interface->index = request.ifr_ifindex;
  return true;
}

napi_value js_packetSocket(napi_env env, napi_callback_info info) {
  napi_value values[2];
  struct interface interface;
  int netns_fd;
  const char *system_call;
  TRY(read_arguments(env, info, 2, values));
  TRY(read_interface(env, values[0], &interface));
  TRY(read_optional_fd(env, values[1], "netnsFd", &netns_fd));
  /* Protocol 0 hears nothing, so no packet of another interface is queued before bind. */
  const int fd = socket_in_namespace(netns_fd, AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, 0, &system_call);
  if (fd < 0) return throw_system_error(env, errno, system_call, NULL);
  if (!find_index(fd, &interface)) {
    close_quietly(fd);
    return throw_system_error(env, errno, "ioctl(SIOCGIFINDEX)", interface.name);
  }
  const struct sockaddr_ll address = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = interface.index};
  if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
    close_quietly(fd);
    return throw_system_error(env, errno, "bind", NULL);
  }
  return fd_result(env, fd);
}

static const char *packet_type(unsigned char type) {
  switch (type) {
    case PACKET_HOST: return "host";
    case PACKET_BROADCAST: return "broadcast";
    case PACKET_MULTICAST: return "multicast";
    case PACKET_OTHERHOST: return "otherHost";
    case PACKET_OUTGOING: return "outgoing";
    default: return "other";
  }
}

static napi_value packet_result(napi_env env, const struct sockaddr_ll *from, const uint8_t *bytes, size_t captured,
                                size_t length) {
  napi_value result, index, type, protocol, data, length_value;
  TRY(call_ok(env, napi_create_object(env, &result)));
  TRY(call_ok(env, napi_create_int32(env, from->sll_ifindex, &index)));
  TRY(call_ok(env, napi_create_string_utf8(env, packet_type(from->sll_pkttype), NAPI_AUTO_LENGTH, &type)));
  TRY(call_ok(env, napi_create_uint32(env, ntohs(from->sll_protocol), &protocol)));
  TRY(call_ok(env, napi_create_buffer_copy(env, captured, bytes, NULL, &data)));
  TRY(call_ok(env, napi_create_uint32(env, (uint32_t)length, &length_value)));
  TRY(set_property(env, result, "interfaceIndex", index));
  TRY(set_property(env, result, "packetType", type));
  TRY(set_property(env, result, "protocol", protocol));
  TRY(set_property(env, result, "data", data));
  TRY(set_property(env, result, "length", length_value));
  return result;
}

napi_value js_receivePacket(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int fd;
  int64_t maximum;
  struct sockaddr_ll from = {0};
  socklen_t from_length = sizeof from;
  ssize_t length;
  TRY(read_arguments(env, info, 2, values));
  TRY(read_fd(env, values[0], "fd", &fd));
  TRY(read_integer(env, values[1], "maxBytes", 1, MAXIMUM_PACKET, &maximum));
  uint8_t *bytes = malloc((size_t)maximum);
  if (!bytes) return throw_system_error(env, ENOMEM, "malloc", NULL);
  /* MSG_TRUNC makes the kernel return the packet's own length. */
  do length = recvfrom(fd, bytes, (size_t)maximum, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &from_length);
  while (length < 0 && errno == EINTR);
  const size_t captured = length < maximum ? (size_t)length : (size_t)maximum;
  napi_value result;
  if (length >= 0) result = packet_result(env, &from, bytes, captured, (size_t)length);
  else result = errno == EAGAIN ? undefined_result(env) : throw_system_error(env, errno, "recvfrom", NULL);
  free(bytes);
  return result;
}

napi_value js_interfaceName(napi_env env, napi_callback_info info) {
  napi_value values[2], result;
  int64_t index;
  int netns_fd;
  const char *system_call;
  struct ifreq request = {0};
  TRY(read_arguments(env, info, 2, values));
  TRY(read_integer(env, values[0], "index", 1, INT_MAX, &index));
  TRY(read_optional_fd(env, values[1], "netnsFd", &netns_fd));
  const int fd = socket_in_namespace(netns_fd, AF_INET, SOCK_DGRAM, 0, &system_call);
  if (fd < 0) return throw_system_error(env, errno, system_call, NULL);
  request.ifr_ifindex = (int)index;
  const bool found = ioctl(fd, SIOCGIFNAME, &request) == 0;
  close_quietly(fd);
  if (!found) return throw_system_error(env, errno, "ioctl(SIOCGIFNAME)", NULL);
  TRY(call_ok(env, napi_create_string_utf8(env, request.ifr_name, strnlen(request.ifr_name, IFNAMSIZ), &result)));
  return result;
}
