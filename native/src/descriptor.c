/*
 * Closing and duplicating descriptors that no Node object owns.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "addon.h"

napi_value js_closeFd(napi_env env, napi_callback_info info) {
  napi_value fd_value;
  int fd;
  TRY(read_arguments(env, info, 1, &fd_value));
  TRY(read_fd(env, fd_value, "fd", &fd));
  /* After EINTR Linux has closed it already; a second close could hit a stranger. */
  if (close(fd) != 0 && errno != EINTR) return throw_system_error(env, errno, "close", NULL);
  return undefined_result(env);
}

napi_value js_dupFd(napi_env env, napi_callback_info info) {
  napi_value fd_value;
  int fd;
  TRY(read_arguments(env, info, 1, &fd_value));
  TRY(read_fd(env, fd_value, "fd", &fd));
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? throw_system_error(env, errno, "fcntl(F_DUPFD_CLOEXEC)", NULL) : fd_result(env, copy);
}
