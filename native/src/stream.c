/*
 * TCP streams by hand: an epoll set, reading, writing, connecting, ending. System calls and nothing else: no state here, so
 * nothing of it can be used after it was freed. Those on the way of every byte return -errno, since EAGAIN is no exception.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "addon.h"

/* Of one epoll_wait; three numbers each. */
#define MOST_EVENTS 256
/* Chunks of one write. */
#define MOST_CHUNKS 64

static napi_value number_result(napi_env env, ssize_t result) {
  napi_value number;
  TRY(call_ok(env, napi_create_int32(env, result < 0 ? -errno : (int32_t)result, &number)));
  return number;
}

napi_value js_createEpoll(napi_env env, napi_callback_info info) {
  (void)info;
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? throw_system_error(env, errno, "epoll_create1", NULL) : fd_result(env, fd);
}

napi_value js_epollAdd(napi_env env, napi_callback_info info) {
  napi_value values[3];
  int epoll_fd, fd;
  int64_t tag;
  TRY(read_arguments(env, info, 3, values));
  TRY(read_fd(env, values[0], "epollFd", &epoll_fd));
  TRY(read_fd(env, values[1], "fd", &fd));
  TRY(read_integer(env, values[2], "tag", 0, INT32_MAX, &tag));
  struct epoll_event event = {.events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                              .data.u64 = (uint64_t)tag << 32 | (uint32_t)fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) return throw_system_error(env, errno, "epoll_ctl", NULL);
  return undefined_result(env);
}

static int32_t event_bits(uint32_t events) {
  int32_t bits = 0;
  if (events & EPOLLIN) bits |= 1;
  if (events & EPOLLOUT) bits |= 2;
  if (events & (EPOLLRDHUP | EPOLLHUP)) bits |= 4;
  if (events & EPOLLERR) bits |= 8;
  if (events & EPOLLPRI) bits |= 16;
  return bits;
}

napi_value js_epollWait(napi_env env, napi_callback_info info) {
  napi_value values[2];
  napi_typedarray_type type;
  bool is_array;
  int epoll_fd;
  size_t length;
  int32_t *words;
  struct epoll_event events[MOST_EVENTS];
  TRY(read_arguments(env, info, 2, values));
  TRY(read_fd(env, values[0], "epollFd", &epoll_fd));
  TRY(call_ok(env, napi_is_typedarray(env, values[1], &is_array)));
  if (!is_array) return throw_type_error(env, "words", "an Int32Array");
  TRY(call_ok(env, napi_get_typedarray_info(env, values[1], &type, &length, (void **)&words, NULL, NULL)));
  if (type != napi_int32_array) return throw_type_error(env, "words", "an Int32Array");
  if (length < 3) return throw_range_error(env, "words", "an Int32Array with room for three numbers");
  const size_t room = length / 3 < MOST_EVENTS ? length / 3 : MOST_EVENTS;
  const int count = epoll_wait(epoll_fd, events, (int)room, 0);
  for (int index = 0; index < count; index++) {
    words[3 * index] = (int32_t)(uint32_t)events[index].data.u64;
    words[3 * index + 1] = (int32_t)(events[index].data.u64 >> 32);
    words[3 * index + 2] = event_bits(events[index].events);
  }
  /* A signal came first: whatever is ready still is. */
  if (count < 0 && errno != EINTR) return throw_system_error(env, errno, "epoll_wait", NULL);
  return number_result(env, count < 0 ? 0 : count);
}

static bool read_fd_and_bytes(napi_env env, napi_callback_info info, const char *name, int *fd, const uint8_t **bytes,
                              size_t *length) {
  napi_value values[2];
  return read_arguments(env, info, 2, values) && read_fd(env, values[0], "fd", fd) &&
         read_bytes(env, values[1], name, bytes, length);
}

napi_value js_receiveBytes(napi_env env, napi_callback_info info) {
  int fd;
  const uint8_t *bytes;
  size_t length;
  TRY(read_fd_and_bytes(env, info, "buffer", &fd, &bytes, &length));
  /* Nothing read into nothing would look like the end. */
  if (length == 0) return throw_range_error(env, "buffer", "a Buffer that is not empty");
  ssize_t count;
  do count = recv(fd, (void *)bytes, length < INT32_MAX ? length : INT32_MAX, MSG_DONTWAIT);
  while (count < 0 && errno == EINTR);
  return number_result(env, count);
}

napi_value js_sendBytes(napi_env env, napi_callback_info info) {
  int fd;
  const uint8_t *bytes;
  size_t length;
  TRY(read_fd_and_bytes(env, info, "chunk", &fd, &bytes, &length));
  ssize_t count;
  do count = send(fd, bytes, length < INT32_MAX ? length : INT32_MAX, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (count < 0 && errno == EINTR);
  return number_result(env, count);
}

napi_value js_sendChunks(napi_env env, napi_callback_info info) {
  napi_value values[2], chunks[MOST_CHUNKS];
  bool is_array;
  int fd;
  uint32_t given;
  struct iovec parts[MOST_CHUNKS];
  TRY(read_arguments(env, info, 2, values));
  TRY(read_fd(env, values[0], "fd", &fd));
  TRY(call_ok(env, napi_is_array(env, values[1], &is_array)));
  if (!is_array) return throw_type_error(env, "chunks", "an array of Buffers or Uint8Arrays");
  TRY(call_ok(env, napi_get_array_length(env, values[1], &given)));
  const uint32_t count = given < MOST_CHUNKS ? given : MOST_CHUNKS;
  /* First, since an element may be a getter, which could take away the bytes of one before. */
  for (uint32_t index = 0; index < count; index++) TRY(call_ok(env, napi_get_element(env, values[1], index, &chunks[index])));
  size_t left = INT32_MAX;
  for (uint32_t index = 0; index < count; index++) {
    const uint8_t *bytes;
    size_t length;
    TRY(read_bytes(env, chunks[index], "chunk", &bytes, &length));
    parts[index] = (struct iovec){.iov_base = (void *)bytes, .iov_len = length < left ? length : left};
    left -= parts[index].iov_len;
  }
  const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
  ssize_t sent;
  do sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return number_result(env, sent);
}

napi_value js_connectSocket(napi_env env, napi_callback_info info) {
  int fd;
  struct sockaddr_storage address;
  socklen_t length;
  char text[ADDRESS_TEXT_CAPACITY];
  TRY(read_fd_and_address(env, info, &fd, &address, &length, text));
  if (connect(fd, (const struct sockaddr *)&address, length) == 0 || errno == EINPROGRESS || errno == EINTR) {
    return undefined_result(env);
  }
  return throw_system_error(env, errno, "connect", text);
}

napi_value js_takeSocketError(napi_env env, napi_callback_info info) {
  napi_value value;
  int fd, error = 0;
  socklen_t length = sizeof error;
  TRY(read_arguments(env, info, 1, &value));
  TRY(read_fd(env, value, "fd", &fd));
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  errno = error;
  return number_result(env, error == 0 ? 0 : -1);
}

napi_value js_shutdownSending(napi_env env, napi_callback_info info) {
  napi_value value;
  int fd;
  TRY(read_arguments(env, info, 1, &value));
  TRY(read_fd(env, value, "fd", &fd));
  return number_result(env, shutdown(fd, SHUT_WR));
}

napi_value js_resetConnection(napi_env env, napi_callback_info info) {
  napi_value value;
  int fd;
  const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
  TRY(read_arguments(env, info, 1, &value));
  TRY(read_fd(env, value, "fd", &fd));
  const int refused = setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0 ? 0 : errno;
  if (close(fd) != 0 && errno != EINTR) return throw_system_error(env, errno, "close", NULL);
  return refused == 0 ? undefined_result(env) : throw_system_error(env, refused, "setsockopt(SO_LINGER)", NULL);
}
