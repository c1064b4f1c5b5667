/*
 * Opens connections at a pace, sends one byte each way on each so that they are through, says `held N`, keeps them until
 * SIGTERM, then closes them in order. `--seconds` bounds the opening, and the holding after it.
 */
#include "tcpload.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* So many may be on their way: a system that is slower than the pace sets the pace. */
#define OPENING_LIMIT 16
#define CLOSING_NS (10 * NS_PER_SECOND)

enum state { UNUSED, CONNECTING, WAITING, HELD, CLOSING, ENDED };

struct connection {
  int fd;
  enum state state;
  uint64_t begun;
};

static const struct options *options;
static int epoll, timer;
static struct connection *connections;
static uint32_t begun, opening, held, closing;

static void end_connection(struct connection *connection) {
  if (connection->state == CONNECTING || connection->state == WAITING) opening--;
  if (connection->state == HELD) held--;
  if (connection->state == CLOSING) closing--;
  if (connection->fd >= 0) close(connection->fd);
  connection->state = ENDED;
}

static void fail(struct connection *connection, const char *what, const char *detail) {
  add_errors(1, what, detail);
  end_connection(connection);
}

static void begin(void) {
  struct connection *connection = &connections[begun];
  connection->begun = now_ns();
  connection->fd = begin_connection(options);
  connection->state = CONNECTING;
  opening++;
  if (connection->fd < 0)
    fail(connection, "connect", strerror(errno));
  else
    watch(epoll, connection->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, begun);
  begun++;
}

static void finish_connect(struct connection *connection) {
  const int error = take_socket_error(connection->fd);
  connection->state = WAITING;
  if (error != 0)
    fail(connection, "connect", strerror(error));
  else if (send(connection->fd, "i", 1, MSG_NOSIGNAL) != 1)
    fail(connection, "send", strerror(errno));
}

/* Returns false when there is nothing more to read. */
static bool read_once(struct connection *connection) {
  char bytes[2];
  const ssize_t length = recv(connection->fd, bytes, sizeof bytes, 0);
  if (length < 0 && errno == EAGAIN) return false;
  if (connection->state == WAITING && length == 1 && bytes[0] == 'i') {
    add_sample(now_ns() - connection->begun);
    connection->state = HELD;
    opening--;
    held++;
    return true;
  }
  if (connection->state == CLOSING && length == 0)
    end_connection(connection);
  else if (length < 0)
    fail(connection, "receive", strerror(errno));
  else if (length > 0)
    fail(connection, "wrong answer", NULL);
  else
    fail(connection, connection->state == HELD ? "closed while idle" : "closed before the answer", NULL);
  return false;
}

static void handle_event(struct connection *connection, uint32_t events) {
  if (connection->state == CONNECTING) finish_connect(connection);
  if (connection->state == ENDED || (events & EPOLLIN) == 0) return;
  while (read_once(connection)) continue;
}

static int watch_signals(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  const int fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) die("signalfd", errno);
  watch(epoll, fd, EPOLLIN, SIGNAL_INDEX);
  return fd;
}

/* Handles what has come by the deadline; returns false at the deadline or when told to end. */
static bool handle_events(uint64_t deadline) {
  if (now_ns() >= deadline) return false;
  struct epoll_event events[EVENT_LIMIT];
  const int count = epoll_wait(epoll, events, EVENT_LIMIT, -1);
  if (count < 0 && errno != EINTR) die("epoll_wait", errno);
  bool told = false;
  for (int i = 0; i < count; i++) {
    const uint32_t index = events[i].data.u32;
    if (index == SIGNAL_INDEX)
      told = true;
    else if (index != TIMER_INDEX)
      handle_event(&connections[index], events[i].events);
  }
  return !told;
}

/* When the next connection may be begun. */
static uint64_t due(uint64_t start) { return start + (uint64_t)((double)begun * (NS_PER_SECOND / options->rate)); }

/* Returns false when told to end before all were open. */
static bool open_all(uint64_t start, uint64_t deadline) {
  bool goes_on = true;
  while (goes_on && (begun < options->connections || opening > 0)) {
    while (begun < options->connections && opening < OPENING_LIMIT && due(start) <= now_ns()) begin();
    const bool waits = begun < options->connections && opening < OPENING_LIMIT && due(start) < deadline;
    arm_timer(timer, waits ? due(start) : deadline);
    goes_on = handle_events(deadline);
  }
  for (uint32_t i = 0; i < begun; i++)
    if (connections[i].state == CONNECTING || connections[i].state == WAITING)
      fail(&connections[i], "no answer", NULL);
  add_errors(options->connections - begun, "not begun in time", NULL);
  return goes_on || now_ns() >= deadline;
}

static void close_all(void) {
  for (uint32_t i = 0; i < begun; i++) {
    if (connections[i].state != HELD) continue;
    held--;
    closing++;
    connections[i].state = CLOSING;
    if (shutdown(connections[i].fd, SHUT_WR) < 0) fail(&connections[i], "shutdown", strerror(errno));
  }
  const uint64_t deadline = now_ns() + CLOSING_NS;
  arm_timer(timer, deadline);
  while (closing > 0 && now_ns() < deadline) handle_events(deadline);
  for (uint32_t i = 0; i < begun; i++)
    if (connections[i].state == CLOSING) fail(&connections[i], "not closed by the peer", NULL);
}

void run_idle(const struct options *given) {
  options = given;
  require_descriptors((uint64_t)options->connections + 64);
  connections = allocate(options->connections, sizeof *connections);
  epoll = make_epoll();
  timer = make_timer(epoll);
  const int signals = watch_signals();
  const uint64_t limit = (uint64_t)(options->seconds * NS_PER_SECOND), start = now_ns();
  const bool opened = open_all(start, start + limit);
  const uint64_t elapsed = now_ns() - start;
  if (opened) {
    printf("held %u\n", held);
    fflush(stdout);
    const uint64_t deadline = now_ns() + limit;
    arm_timer(timer, deadline);
    while (handle_events(deadline)) continue;
  }
  close(signals);
  const uint32_t units = held;
  close_all();
  print_result(units, elapsed);
}
