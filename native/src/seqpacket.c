/*
 * Unix SOCK_SEQPACKET sockets and descriptors passed over them (unix(7), SCM_RIGHTS), the transport of Istio's ZDS.
 * Invariant: a received descriptor is either in the result or closed; a truncated record delivers none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "addon.h"

/* The kernel's SCM_MAX_FD. */
#define MAXIMUM_FDS 253
#define MAXIMUM_RECORD (1 << 20)

union control {
  struct cmsghdr alignment;
  char bytes[CMSG_SPACE(sizeof(int) * MAXIMUM_FDS)];
};

struct fd_list {
  size_t count;
  int fds[MAXIMUM_FDS];
};

static bool read_socket_path(napi_env env, napi_value value, const char *system_call, struct sockaddr_un *address) {
  bool fits;
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (!read_text(env, value, "path", address->sun_path, sizeof address->sun_path, &fits)) return false;
  if (!fits) return throw_system_error(env, ENAMETOOLONG, system_call, NULL);
  /* An empty path would ask the kernel for a name of its choice. */
  return address->sun_path[0] != '\0' || throw_system_error(env, ENOENT, system_call, NULL);
}

static int seqpacket_socket(void) { return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

napi_value js_seqpacketListen(napi_env env, napi_callback_info info) {
  napi_value values[2];
  struct sockaddr_un address;
  int64_t backlog;
  TRY(read_arguments(env, info, 2, values));
  TRY(read_socket_path(env, values[0], "bind", &address));
  TRY(read_integer(env, values[1], "backlog", 0, INT_MAX, &backlog));
  const int fd = seqpacket_socket();
  if (fd < 0) return throw_system_error(env, errno, "socket", NULL);
  if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
    close_quietly(fd);
    return throw_system_error(env, errno, "bind", address.sun_path);
  }
  if (listen(fd, (int)backlog) != 0) {
    const int error = errno;
    close(fd);
    unlink(address.sun_path);
    return throw_system_error(env, error, "listen", address.sun_path);
  }
  return fd_result(env, fd);
}

napi_value js_seqpacketAccept(napi_env env, napi_callback_info info) {
  napi_value fd_value;
  int fd, accepted;
  TRY(read_arguments(env, info, 1, &fd_value));
  TRY(read_fd(env, fd_value, "fd", &fd));
  do accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (accepted < 0 && errno == EINTR);
  if (accepted >= 0) return fd_result(env, accepted);
  return errno == EAGAIN ? undefined_result(env) : throw_system_error(env, errno, "accept4", NULL);
}

napi_value js_seqpacketConnect(napi_env env, napi_callback_info info) {
  napi_value path_value;
  struct sockaddr_un address;
  TRY(read_arguments(env, info, 1, &path_value));
  TRY(read_socket_path(env, path_value, "connect", &address));
  const int fd = seqpacket_socket();
  if (fd < 0) return throw_system_error(env, errno, "socket", NULL);
  if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
    close_quietly(fd);
    return throw_system_error(env, errno, "connect", address.sun_path);
  }
  return fd_result(env, fd);
}

static bool read_fds(napi_env env, napi_value value, struct fd_list *list) {
  bool undefined, is_array;
  uint32_t length;
  list->count = 0;
  if (!is_undefined(env, value, &undefined)) return false;
  if (undefined) return true;
  if (!call_ok(env, napi_is_array(env, value, &is_array))) return false;
  if (!is_array) return throw_type_error(env, "fds", "an array of integers");
  if (!call_ok(env, napi_get_array_length(env, value, &length))) return false;
  if (length > MAXIMUM_FDS) return throw_range_error(env, "fds", "an array of at most 253 descriptors");
  for (uint32_t index = 0; index < length; index++) {
    napi_value element;
    if (!call_ok(env, napi_get_element(env, value, index, &element))) return false;
    if (!read_fd(env, element, "fds", &list->fds[index])) return false;
  }
  list->count = length;
  return true;
}

napi_value js_seqpacketSend(napi_env env, napi_callback_info info) {
  napi_value values[3], result;
  int fd;
  const uint8_t *bytes;
  size_t length;
  struct fd_list list;
  union control control = {0};
  ssize_t sent;
  TRY(read_arguments(env, info, 3, values));
  TRY(read_fd(env, values[0], "fd", &fd));
  /* The descriptors first: reading them may run a getter, which could detach the buffer. */
  TRY(read_fds(env, values[2], &list));
  TRY(read_bytes(env, values[1], "buffer", &bytes, &length));
  if (length == 0) return throw_range_error(env, "buffer", "not empty: the receiver would take it for the end");
  struct iovec content = {.iov_base = (void *)bytes, .iov_len = length};
  struct msghdr message = {.msg_iov = &content, .msg_iovlen = 1};
  if (list.count > 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * list.count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * list.count);
    memcpy(CMSG_DATA(header), list.fds, sizeof(int) * list.count);
  }
  do sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno != EAGAIN) return throw_system_error(env, errno, "sendmsg", NULL);
  TRY(call_ok(env, napi_get_boolean(env, sent >= 0, &result)));
  return result;
}

static void collect_fds(struct msghdr *message, struct fd_list *list) {
  list->count = 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(list->fds + list->count, CMSG_DATA(header), count * sizeof(int));
    list->count += count;
  }
}

static void close_fds(struct fd_list *list) {
  while (list->count > 0) close(list->fds[--list->count]);
}

static bool set_flag(napi_env env, napi_value object, const char *name, bool flag) {
  napi_value value;
  return call_ok(env, napi_get_boolean(env, flag, &value)) && set_property(env, object, name, value);
}

static napi_value record_result(napi_env env, const uint8_t *bytes, size_t length, const struct fd_list *list,
                                int flags) {
  napi_value result, data, fds, number;
  const bool truncated = flags & MSG_TRUNC, control_truncated = flags & MSG_CTRUNC;
  TRY(call_ok(env, napi_create_object(env, &result)));
  TRY(call_ok(env, napi_create_buffer_copy(env, length, bytes, NULL, &data)));
  TRY(call_ok(env, napi_create_array_with_length(env, list->count, &fds)));
  for (uint32_t index = 0; index < list->count; index++) {
    TRY(call_ok(env, napi_create_int32(env, list->fds[index], &number)));
    TRY(call_ok(env, napi_set_element(env, fds, index, number)));
  }
  TRY(set_property(env, result, "data", data));
  TRY(set_property(env, result, "fds", fds));
  TRY(set_flag(env, result, "truncated", truncated));
  TRY(set_flag(env, result, "controlTruncated", control_truncated));
  TRY(set_flag(env, result, "eof", length == 0 && list->count == 0 && !truncated && !control_truncated));
  return result;
}

napi_value js_seqpacketReceive(napi_env env, napi_callback_info info) {
  napi_value values[3];
  int fd;
  int64_t maximum_bytes, maximum_fds;
  union control control;
  struct fd_list list;
  ssize_t received;
  TRY(read_arguments(env, info, 3, values));
  TRY(read_fd(env, values[0], "fd", &fd));
  TRY(read_integer(env, values[1], "maxBytes", 1, MAXIMUM_RECORD, &maximum_bytes));
  TRY(read_integer(env, values[2], "maxFds", 0, MAXIMUM_FDS, &maximum_fds));
  uint8_t *bytes = malloc((size_t)maximum_bytes);
  if (!bytes) return throw_system_error(env, ENOMEM, "malloc", NULL);
  struct iovec content = {.iov_base = bytes, .iov_len = (size_t)maximum_bytes};
  struct msghdr message = {.msg_iov = &content, .msg_iovlen = 1};
  if (maximum_fds > 0) {
    message.msg_control = control.bytes;
    /* CMSG_LEN, not CMSG_SPACE: the padding would let one descriptor too many through. */
    message.msg_controllen = CMSG_LEN(sizeof(int) * (size_t)maximum_fds);
  }
  do received = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  if (received < 0) {
    const int error = errno;
    free(bytes);
    return error == EAGAIN ? undefined_result(env) : throw_system_error(env, error, "recvmsg", NULL);
  }
  collect_fds(&message, &list);
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) close_fds(&list);
  napi_value result = record_result(env, bytes, (size_t)received, &list, message.msg_flags);
  free(bytes);
  if (!result) close_fds(&list);
  return result;
}
