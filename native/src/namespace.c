/*
 * Network namespaces: opening, telling apart, and making a socket in another one (setns(2), network_namespaces(7)).
 * Invariant: whatever happens, JavaScript only ever runs with the thread in its own namespace. A thread that cannot
 * return would make its next sockets in somebody else's network, so that ends the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "addon.h"

/* The way back, opened on first use. Per thread, since a namespace is a thread's; shared by all environments of the
 * thread, since enterNamespace in one of them moves them all. */
static _Thread_local int own_namespace = -1;
static _Thread_local unsigned environments = 0;

static void forget_own_namespace(void) {
  if (own_namespace >= 0) close_quietly(own_namespace);
  own_namespace = -1;
}

void namespace_thread_retain(void) { environments++; }

void namespace_thread_release(void) {
  if (--environments == 0) forget_own_namespace();
}

/* Also proves that the way back is open: in a user namespace the thread's own network may be owned by an outer one,
 * and then it could leave but not return. */
static bool know_own_namespace(const char **system_call) {
  if (own_namespace >= 0) return true;
  *system_call = "open(/proc/thread-self/ns/net)";
  const int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  *system_call = "setns(own namespace)";
  if (setns(fd, CLONE_NEWNET) != 0) {
    close_quietly(fd);
    return false;
  }
  own_namespace = fd;
  return true;
}

int socket_in_namespace(int netns_fd, int domain, int type, int protocol, const char **system_call) {
  *system_call = "socket";
  if (netns_fd < 0) return socket(domain, type | SOCK_CLOEXEC, protocol);
  if (!know_own_namespace(system_call)) return -1;
  *system_call = "setns";
  if (setns(netns_fd, CLONE_NEWNET) != 0) return -1;
  *system_call = "socket";
  const int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
  const int error = errno;
  if (setns(own_namespace, CLONE_NEWNET) != 0) {
    perror("node-tproxy-native: cannot return to the thread's own network namespace: setns");
    abort();
  }
  errno = error;
  return fd;
}

napi_value js_openNamespace(napi_env env, napi_callback_info info) {
  napi_value path_value;
  char path[PATH_MAX];
  bool fits;
  TRY(read_arguments(env, info, 1, &path_value));
  TRY(read_text(env, path_value, "path", path, sizeof path, &fits));
  if (!fits) return throw_system_error(env, ENAMETOOLONG, "open", NULL);
  /* O_NONBLOCK: a path that turns out to be a FIFO must not stop the event loop. */
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  return fd < 0 ? throw_system_error(env, errno, "open", path) : fd_result(env, fd);
}

napi_value js_namespaceIdentity(napi_env env, napi_callback_info info) {
  napi_value fd_value, result, device, inode;
  int fd;
  struct stat status;
  TRY(read_arguments(env, info, 1, &fd_value));
  TRY(read_fd(env, fd_value, "fd", &fd));
  if (fstat(fd, &status) != 0) return throw_system_error(env, errno, "fstat", NULL);
  TRY(call_ok(env, napi_create_object(env, &result)));
  TRY(call_ok(env, napi_create_bigint_uint64(env, status.st_dev, &device)));
  TRY(call_ok(env, napi_create_bigint_uint64(env, status.st_ino, &inode)));
  TRY(set_property(env, result, "dev", device));
  TRY(set_property(env, result, "inode", inode));
  return result;
}

napi_value js_isNetworkNamespace(napi_env env, napi_callback_info info) {
  napi_value fd_value, result;
  int fd;
  struct statfs filesystem;
  TRY(read_arguments(env, info, 1, &fd_value));
  TRY(read_fd(env, fd_value, "fd", &fd));
  if (fstatfs(fd, &filesystem) != 0) return throw_system_error(env, errno, "fstatfs", NULL);
  /* The file system first: the ioctl's number may mean something else to other files. */
  const bool is_network = filesystem.f_type == NSFS_MAGIC && ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
  TRY(call_ok(env, napi_get_boolean(env, is_network, &result)));
  return result;
}

napi_value js_enterNamespace(napi_env env, napi_callback_info info) {
  napi_value fd_value;
  int fd;
  TRY(read_arguments(env, info, 1, &fd_value));
  TRY(read_fd(env, fd_value, "fd", &fd));
  if (setns(fd, CLONE_NEWNET) != 0) return throw_system_error(env, errno, "setns", NULL);
  forget_own_namespace();
  return undefined_result(env);
}
