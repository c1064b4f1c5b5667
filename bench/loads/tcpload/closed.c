/*
 * The closed loops: each connection begins its next unit when the last one is through.
 *   connect    connect, one byte each way, close
 *   ping-pong  one byte each way, again and again on one connection
 * What is in flight at the end of the time is waited for, so that units and the work done for them agree.
 */
#include "tcpload.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum state { CLOSED, CONNECTING, WAITING };

struct connection {
  int fd;
  enum state state;
  uint8_t byte;
  uint64_t begun;
};

static const struct options *options;
static bool keeps_connections, ending;
static int epoll, timer;
/* Nothing is begun after it; when ending, nothing is waited for after it. */
static uint64_t deadline;
static struct connection *connections;
static uint64_t units;

static void stop_beginning(void) {
  if (ending) return;
  ending = true;
  deadline = now_ns() + GRACE_NS;
  arm_timer(timer, deadline);
}

static void end_connection(struct connection *connection) {
  close(connection->fd);
  connection->state = CLOSED;
}

static void fail(struct connection *connection, const char *what, const char *detail) {
  add_errors(1, what, detail);
  if (connection->state != CLOSED) end_connection(connection);
  if (error_count() >= ERROR_LIMIT) stop_beginning();
}

static void begin(struct connection *connection) {
  connection->begun = now_ns();
  connection->fd = begin_connection(options);
  if (connection->fd < 0) {
    fail(connection, "connect", strerror(errno));
    return;
  }
  connection->state = CONNECTING;
  watch(epoll, connection->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, (uint32_t)(connection - connections));
}

static void send_byte(struct connection *connection) {
  connection->byte++;
  connection->state = WAITING;
  if (send(connection->fd, &connection->byte, 1, MSG_NOSIGNAL) != 1) fail(connection, "send", strerror(errno));
}

static void finish_unit(struct connection *connection) {
  const uint64_t now = now_ns();
  units++;
  add_sample(now - connection->begun);
  if (samples_full()) stop_beginning();
  if (!keeps_connections || ending) {
    end_connection(connection);
    return;
  }
  connection->begun = now;
  send_byte(connection);
}

static void read_answer(struct connection *connection) {
  uint8_t answer[2];
  const ssize_t length = recv(connection->fd, answer, sizeof answer, 0);
  if (length == 1 && answer[0] == connection->byte)
    finish_unit(connection);
  else if (length == 0)
    fail(connection, "closed before the answer", NULL);
  else if (length > 0)
    fail(connection, "wrong answer", NULL);
  else if (errno != EAGAIN)
    fail(connection, "receive", strerror(errno));
}

static void finish_connect(struct connection *connection) {
  const int error = take_socket_error(connection->fd);
  if (error != 0) {
    fail(connection, "connect", strerror(error));
    return;
  }
  if (keeps_connections) connection->begun = now_ns();
  send_byte(connection);
}

static void handle_event(struct connection *connection, uint32_t events) {
  if (connection->state == CONNECTING) finish_connect(connection);
  /* A peer may have closed before there was anything to answer. */
  if (connection->state == WAITING && (events & EPOLLIN) != 0) read_answer(connection);
}

/* Returns how many are closed after those that may be begun were. */
static uint32_t begin_closed(void) {
  uint32_t closed = 0;
  for (uint32_t i = 0; i < options->connections; i++) {
    if (connections[i].state == CLOSED && !ending) begin(&connections[i]);
    if (connections[i].state == CLOSED) closed++;
  }
  return closed;
}

static void give_up(void) {
  for (uint32_t i = 0; i < options->connections; i++)
    if (connections[i].state != CLOSED) fail(&connections[i], "no answer", NULL);
}

static void run(const struct options *given, bool keeps) {
  options = given;
  keeps_connections = keeps;
  require_descriptors(options->connections + 64);
  connections = allocate(options->connections, sizeof *connections);
  epoll = make_epoll();
  timer = make_timer(epoll);
  const uint64_t start = now_ns();
  deadline = start + (uint64_t)(options->seconds * NS_PER_SECOND);
  arm_timer(timer, deadline);
  for (;;) {
    const uint32_t closed = begin_closed();
    if (ending && closed == options->connections) break;
    struct epoll_event events[EVENT_LIMIT];
    /* Those that could not even be begun are tried again soon, not at once. */
    const int count = epoll_wait(epoll, events, EVENT_LIMIT, closed > 0 && !ending ? 1 : -1);
    if (count < 0 && errno != EINTR) die("epoll_wait", errno);
    for (int i = 0; i < count; i++)
      if (events[i].data.u32 != TIMER_INDEX) handle_event(&connections[events[i].data.u32], events[i].events);
    if (now_ns() < deadline) continue;
    if (ending)
      give_up();
    else
      stop_beginning();
  }
  print_result(units, now_ns() - start);
}

void run_connect(const struct options *given) { run(given, false); }
void run_ping_pong(const struct options *given) { run(given, true); }
