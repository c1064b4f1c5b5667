/*
 * The origin of the loads that carry bytes: sends back what it is sent and closes when its peer has. What a peer does not
 * take is kept, one buffer's length, and no more is read from it meanwhile. Runs until it is killed.
 */
#include "tcpload.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER_LENGTH 65536
#define BACKLOG 4096

struct connection {
  int fd;
  size_t kept, sent;
  /* Made for the first byte that is not taken. */
  char *buffer;
};

static int epoll, listener;

static void end_connection(struct connection *connection) {
  close(connection->fd);
  free(connection->buffer);
  free(connection);
}

static void watch_connection(struct connection *connection) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0) die("epoll_ctl", errno);
}

static void accept_all(void) {
  for (;;) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)) return;
    if (fd < 0) die("accept4", errno); /* Out of descriptors: what would follow is no measurement. */
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *connection = allocate(1, sizeof *connection);
    connection->fd = fd;
    watch_connection(connection);
  }
}

/* Returns whether the connection goes on. */
static bool send_kept(struct connection *connection) {
  while (connection->sent < connection->kept) {
    const ssize_t length = send(connection->fd, connection->buffer + connection->sent,
                                connection->kept - connection->sent, MSG_NOSIGNAL);
    if (length < 0) return errno == EAGAIN;
    connection->sent += (size_t)length;
  }
  connection->kept = connection->sent = 0;
  return true;
}

static void keep(struct connection *connection, const char *bytes, size_t length) {
  if (connection->buffer == NULL) connection->buffer = allocate(1, BUFFER_LENGTH);
  for (size_t i = 0; i < length; i++) connection->buffer[i] = bytes[i];
  connection->kept = length;
  connection->sent = 0;
}

/* Returns whether the connection goes on. */
static bool echo(struct connection *connection) {
  static char bytes[BUFFER_LENGTH];
  for (;;) {
    if (!send_kept(connection)) return false;
    if (connection->kept > 0) return true;
    const ssize_t length = recv(connection->fd, bytes, sizeof bytes, 0);
    if (length < 0) return errno == EAGAIN;
    if (length == 0) return false;
    const ssize_t sent = send(connection->fd, bytes, (size_t)length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return false;
    const size_t done = sent < 0 ? 0 : (size_t)sent;
    if (done < (size_t)length) keep(connection, bytes + done, (size_t)length - done);
  }
}

void run_echo(const struct options *options) {
  raise_descriptors();
  epoll = make_epoll();
  listener = socket(options->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) die("socket", errno);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (const struct sockaddr *)&options->address, options->address_length) < 0) die("bind", errno);
  if (listen(listener, BACKLOG) < 0) die("listen", errno);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) die("epoll_ctl", errno);
  for (;;) {
    struct epoll_event events[EVENT_LIMIT];
    const int count = epoll_wait(epoll, events, EVENT_LIMIT, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait", errno);
    for (int i = 0; i < count; i++) {
      struct connection *connection = events[i].data.ptr;
      if (connection == NULL)
        accept_all();
      else if (!echo(connection))
        end_connection(connection);
    }
  }
}
