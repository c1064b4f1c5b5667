/*
 * The open loop: GET / by HTTP/1.1 at a fixed rate over kept connections. Request i is due at start + i / rate whatever
 * became of those before it. If all connections are busy then, it waits, and its latency counts from when it was due;
 * a closed loop would instead leave out just those requests that a stall delays ("coordinated omission").
 *
 * A request that is refused, broken off or never answered is an error, and the next one on its connection connects anew.
 */
#include "tcpload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_LIMIT 8192

enum state { CLOSED, CONNECTING, WAITING, READY };

struct connection {
  int fd;
  enum state state;
  /* A request is under way, or waits for the connection to be made. */
  bool busy;
  uint64_t due;
  /* Of the answer: its head until that is complete, then how much of the body is to come. */
  char head[HEAD_LIMIT + 1];
  size_t head_length;
  bool in_body, closes;
  uint64_t body_left;
  char status[4];
};

static const struct options *options;
static int epoll, timer;
static struct connection *connections;
/* Connections that are not busy, longest unused first. */
static uint32_t *free_ring;
static uint32_t first_free, free_count;
static char request[160];
static size_t request_length;
static uint64_t start, total, next, units, last_finished;

static uint64_t due_of(uint64_t i) { return start + (uint64_t)((double)i * (NS_PER_SECOND / options->rate)); }

static void release(struct connection *connection) {
  connection->busy = false;
  free_ring[(first_free + free_count++) % options->connections] = (uint32_t)(connection - connections);
}

static void end_connection(struct connection *connection) {
  if (connection->state != CLOSED) close(connection->fd);
  connection->state = CLOSED;
  connection->head_length = 0;
  connection->in_body = connection->closes = false;
}

static void fail(struct connection *connection, const char *what, const char *detail) {
  add_errors(1, what, detail);
  end_connection(connection);
  if (connection->busy) release(connection);
}

static void send_request(struct connection *connection) {
  connection->state = WAITING;
  const ssize_t length = send(connection->fd, request, request_length, MSG_NOSIGNAL);
  if (length < 0)
    fail(connection, "send", strerror(errno));
  else if ((size_t)length < request_length)
    fail(connection, "sent in part", NULL);
}

static void begin(struct connection *connection) {
  connection->fd = begin_connection(options);
  if (connection->fd < 0) {
    fail(connection, "connect", strerror(errno));
    return;
  }
  connection->state = CONNECTING;
  watch(epoll, connection->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, (uint32_t)(connection - connections));
}

static void finish_connect(struct connection *connection) {
  const int error = take_socket_error(connection->fd);
  if (error != 0)
    fail(connection, "connect", strerror(error));
  else
    send_request(connection);
}

static void count_answer(const struct connection *connection) {
  if (connection->status[0] == '2') {
    units++;
    add_sample(last_finished - connection->due);
  } else {
    add_errors(1, "status", connection->status);
  }
}

static void finish_answer(struct connection *connection) {
  last_finished = now_ns();
  if (start > 0) count_answer(connection);
  connection->head_length = 0;
  connection->in_body = false;
  connection->state = READY;
  if (connection->closes) end_connection(connection);
  release(connection);
}

/* Reads the answer's head; false when it says nothing that can be framed. */
static bool read_head(struct connection *connection) {
  const char *head = connection->head;
  if (strncmp(head, "HTTP/1.1 ", 9) != 0 || strlen(head) < 12) return false;
  memcpy(connection->status, head + 9, 3);
  const char *length = strcasestr(head, "\r\ncontent-length:");
  if (length == NULL) return false;
  connection->body_left = strtoull(length + strlen("\r\ncontent-length:"), NULL, 10);
  connection->closes = strcasestr(head, "\r\nconnection: close") != NULL;
  connection->in_body = true;
  return true;
}

/* Takes bytes of an answer; false when the connection has been given up. */
static bool take_bytes(struct connection *connection, const char *bytes, size_t length) {
  if (!connection->busy) {
    fail(connection, "bytes that were not asked for", NULL);
    return false;
  }
  if (!connection->in_body) {
    const size_t before = connection->head_length, room = HEAD_LIMIT - before;
    const size_t taken = length < room ? length : room;
    memcpy(connection->head + before, bytes, taken);
    connection->head[connection->head_length += taken] = '\0';
    char *end = memmem(connection->head, connection->head_length, "\r\n\r\n", 4);
    if (end == NULL) {
      if (connection->head_length < HEAD_LIMIT) return true;
      fail(connection, "answer's head too long", NULL);
      return false;
    }
    end[2] = '\0';
    const size_t used = (size_t)(end + 4 - connection->head) - before;
    if (!read_head(connection)) {
      fail(connection, "answer without a status or a length", NULL);
      return false;
    }
    bytes += used;
    length -= used;
  }
  const size_t body = length < connection->body_left ? length : connection->body_left;
  connection->body_left -= body;
  if (connection->body_left == 0) finish_answer(connection);
  return length == body || take_bytes(connection, bytes + body, length - body);
}

static void read_answer(struct connection *connection, uint32_t events) {
  char bytes[16384];
  for (;;) {
    const ssize_t length = recv(connection->fd, bytes, sizeof bytes, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) {
      if (connection->busy)
        fail(connection, length == 0 ? "closed before the answer" : "receive", length == 0 ? NULL : strerror(errno));
      else
        end_connection(connection); /* It was not used, and a server may close it then. */
      return;
    }
    if (!take_bytes(connection, bytes, (size_t)length) || connection->state == CLOSED) return;
    /* Whatever comes later is another edge; a close that is there already is not. */
    if ((size_t)length < sizeof bytes && (events & EPOLLRDHUP) == 0) return;
  }
}

/* Sends what is due to connections that are free, and arms the timer for what comes next. */
static void send_due(uint64_t deadline) {
  while (next < total && free_count > 0 && due_of(next) <= now_ns()) {
    struct connection *connection = &connections[free_ring[first_free]];
    first_free = (first_free + 1) % options->connections;
    free_count--;
    connection->busy = true;
    connection->due = due_of(next++);
    if (connection->state == READY)
      send_request(connection);
    else
      begin(connection);
  }
  arm_timer(timer, next < total && free_count > 0 ? due_of(next) : deadline);
}

/* Returns false at the deadline. */
static bool handle_events(uint64_t deadline) {
  struct epoll_event events[EVENT_LIMIT];
  const int count = epoll_wait(epoll, events, EVENT_LIMIT, -1);
  if (count < 0 && errno != EINTR) die("epoll_wait", errno);
  for (int i = 0; i < count; i++) {
    if (events[i].data.u32 == TIMER_INDEX) continue;
    struct connection *connection = &connections[events[i].data.u32];
    if (connection->state == CONNECTING) finish_connect(connection);
    if (connection->state != CLOSED && (events[i].events & EPOLLIN) != 0) read_answer(connection, events[i].events);
  }
  return now_ns() < deadline;
}

static void give_up(const char *what) {
  for (uint32_t i = 0; i < options->connections; i++)
    if (connections[i].busy) fail(&connections[i], what, NULL);
}

/*
 * Before the first request is due, so that no request pays for it: what accepts a connection may dial onwards only then, or
 * when the first request comes, so each connection is tried with a request that does not count.
 */
static void connect_all(void) {
  const uint64_t deadline = now_ns() + GRACE_NS;
  arm_timer(timer, deadline);
  for (uint32_t i = 0; i < options->connections; i++) {
    connections[i].busy = true;
    begin(&connections[i]);
  }
  while (free_count < options->connections && handle_events(deadline)) continue;
  give_up("connect: no answer");
}

void run_rate(const struct options *given) {
  options = given;
  total = (uint64_t)(options->rate * options->seconds);
  if (total > SAMPLE_LIMIT) die("more requests than there is room for latencies", 0);
  require_descriptors((uint64_t)options->connections + 64);
  connections = allocate(options->connections, sizeof *connections);
  free_ring = allocate(options->connections, sizeof *free_ring);
  request_length = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", options->authority);
  epoll = make_epoll();
  timer = make_timer(epoll);
  connect_all();
  start = last_finished = now_ns();
  const uint64_t deadline = start + (uint64_t)(options->seconds * NS_PER_SECOND) + GRACE_NS;
  do send_due(deadline);
  while ((next < total || free_count < options->connections) && handle_events(deadline));
  give_up("no answer");
  add_errors(total - next, "not sent: all connections busy", NULL);
  print_result(units, last_finished - start);
}
