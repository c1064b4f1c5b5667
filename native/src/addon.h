/*
 * What the topics share: the list of exported functions, total argument reading, system errors.
 * Invariant: a reader or helper that returns false (or NULL) has left exactly one JavaScript exception pending, so a
 * caller only closes what it owns and returns NULL. Every descriptor made here is close-on-exec.
 */
#ifndef ADDON_H
#define ADDON_H

#include <limits.h>
#include <netinet/in.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDON_FUNCTIONS(F)                                                                                            \
  F(createSocket) F(bind) F(listen)                                                                                   \
  F(acceptConnection) F(dropSyns)                                                                                     \
  F(originalDestination) F(localAddress) F(peerAddress) F(getMark) F(getTransparent)                                  \
  F(openNamespace) F(namespaceIdentity) F(isNetworkNamespace) F(enterNamespace)                                       \
  F(closeFd) F(dupFd)                                                                                                 \
  F(seqpacketListen) F(seqpacketAccept) F(seqpacketConnect) F(seqpacketSend) F(seqpacketReceive)                      \
  F(watchFd)                                                                                                          \
  F(createEpoll) F(epollAdd) F(epollWait)                                                                             \
  F(receiveBytes) F(sendBytes) F(sendChunks) F(connectSocket) F(takeSocketError) F(shutdownSending)                   \
  F(resetConnection)                                                                                                  \
  F(packetSocket) F(receivePacket) F(interfaceName)                                                                   \
  F(setPdeathsig) F(setSubreaper)                                                                                     \
  F(trimMemory)

#define DECLARE_FUNCTION(name) napi_value js_##name(napi_env env, napi_callback_info info);
ADDON_FUNCTIONS(DECLARE_FUNCTION)

/* Leaves the calling function when an exception is pending. */
#define TRY(succeeded)                                                                                                \
  do {                                                                                                                \
    if (!(succeeded)) return NULL;                                                                                    \
  } while (0)

/* arguments.c: missing arguments read as undefined; `name` is what the TypeError or RangeError calls the argument. */
bool call_ok(napi_env env, napi_status status);
bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values);
bool is_undefined(napi_env env, napi_value value, bool *undefined);
bool read_integer(napi_env env, napi_value value, const char *name, int64_t minimum, int64_t maximum, int64_t *result);
bool read_fd(napi_env env, napi_value value, const char *name, int *fd);
/* Leaves *fd at -1 when the value is undefined. */
bool read_optional_fd(napi_env env, napi_value value, const char *name, int *fd);
bool read_boolean(napi_env env, napi_value value, const char *name, bool *result);
/* Text without NUL bytes. What does not fit is cut, always terminated, and *fits is false. */
bool read_text(napi_env env, napi_value value, const char *name, char *text, size_t capacity, bool *fits);
bool read_bytes(napi_env env, napi_value value, const char *name, const uint8_t **bytes, size_t *length);
bool read_object(napi_env env, napi_value value, const char *name);
/* The property's value; *present is false when it is undefined. */
bool read_property(napi_env env, napi_value object, const char *name, napi_value *value, bool *present);
bool set_property(napi_env env, napi_value object, const char *name, napi_value value);

/* errors.c: both return NULL so that a failing function can return them. `detail`, when given, ends the message. */
napi_value throw_system_error(napi_env env, int error, const char *system_call, const char *detail);
napi_value throw_type_error(napi_env env, const char *name, const char *expected);
napi_value throw_range_error(napi_env env, const char *name, const char *expected);
napi_value fd_result(napi_env env, int fd);
napi_value undefined_result(napi_env env);
/* Closes without disturbing errno. */
void close_quietly(int fd);

/* address.c */
#define ADDRESS_TEXT_CAPACITY 128
/* The arguments (fd, address, port). A literal that is none throws EINVAL naming it; `text` is the literal. */
bool read_fd_and_address(napi_env env, napi_callback_info info, int *fd, struct sockaddr_storage *address,
                         socklen_t *length, char text[ADDRESS_TEXT_CAPACITY]);
/* {address, port, family}; throws EAFNOSUPPORT for anything but IPv4 and IPv6. */
napi_value address_result(napi_env env, const struct sockaddr_storage *address, const char *system_call);

/* namespace.c */
/* A socket made in `netns_fd` (-1: in the thread's own). On failure -1, errno set, *system_call naming what failed. */
int socket_in_namespace(int netns_fd, int domain, int type, int protocol, const char **system_call);
/* Counts the environments of this thread that may need the way back; the last release closes it. */
void namespace_thread_retain(void);
void namespace_thread_release(void);

#endif
