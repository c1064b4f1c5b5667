/*
 * Accepting by hand, and leaving a listening socket without losing a connection (accept(2), socket(7)).
 * libuv accepts until the kernel has nothing more, in one turn of its loop, and throws away what is there when it is out of
 * descriptors; a listener closed by it resets what the kernel has accepted for it.
 */
#include <errno.h>
#include <linux/filter.h>

#include "addon.h"

/* Errors of the connection that was to be accepted, not of the listener: the next one may be well. */
static bool is_passing(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
      return true;
    default:
      return false;
  }
}

napi_value js_acceptConnection(napi_env env, napi_callback_info info) {
  napi_value fd_value;
  int fd, accepted;
  TRY(read_arguments(env, info, 1, &fd_value));
  TRY(read_fd(env, fd_value, "fd", &fd));
  /* Bounded: each turn takes one connection off the queue. A descriptor that is no socket fails otherwise. */
  int attempts = 1024;
  do accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (accepted < 0 && is_passing(errno) && --attempts > 0);
  if (accepted >= 0) return fd_result(env, accepted);
  return errno == EAGAIN ? undefined_result(env) : throw_system_error(env, errno, "accept4", NULL);
}

/* The filter sees packets from the TCP header on. Byte 13 holds the flags; SYN without ACK begins a connection. */
static struct sock_filter without_syn[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
};

napi_value js_dropSyns(napi_env env, napi_callback_info info) {
  napi_value fd_value;
  int fd;
  TRY(read_arguments(env, info, 1, &fd_value));
  TRY(read_fd(env, fd_value, "fd", &fd));
  const struct sock_fprog program = {sizeof without_syn / sizeof *without_syn, without_syn};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) {
    return throw_system_error(env, errno, "setsockopt(SO_ATTACH_FILTER)", NULL);
  }
  return undefined_result(env);
}
