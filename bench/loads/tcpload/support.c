/* Time, descriptors, sockets and epoll, as every mode needs them. */
#include "tcpload.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

_Noreturn void die(const char *what, int error) {
  fprintf(stderr, "tcpload: %s%s%s\n", what, error == 0 ? "" : ": ", error == 0 ? "" : strerror(error));
  exit(1);
}

uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * NS_PER_SECOND + (uint64_t)time.tv_nsec;
}

void *allocate(size_t count, size_t size) {
  void *memory = calloc(count, size);
  if (memory == NULL) die("memory", ENOMEM);
  return memory;
}

void require_descriptors(uint64_t count) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) die("getrlimit", errno);
  if (limit.rlim_cur >= count) return;
  limit.rlim_cur = count;
  if (limit.rlim_max < count) limit.rlim_max = count; /* Root may. */
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
  char text[128];
  snprintf(text, sizeof text, "%llu open files are needed; raise the hard limit (ulimit -Hn)",
           (unsigned long long)count);
  die(text, errno);
}

void raise_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) die("getrlimit", errno);
  const rlim_t wanted = 1 << 18;
  if (limit.rlim_max < wanted) {
    const struct rlimit raised = {wanted, wanted};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return; /* Root may. */
  }
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) die("setrlimit", errno);
}

int begin_connection(const struct options *options) {
  const int fd = socket(options->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd, (const struct sockaddr *)&options->address, options->address_length) == 0) return fd;
  if (errno == EINPROGRESS) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

int take_socket_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
  return error;
}

int make_epoll(void) {
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) die("epoll_create1", errno);
  return fd;
}

void watch(int epoll, int fd, uint32_t events, uint32_t index) {
  struct epoll_event event = {.events = events | EPOLLET, .data.u32 = index};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl", errno);
}

int make_timer(int epoll) {
  const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) die("timerfd_create", errno);
  watch(epoll, fd, EPOLLIN, TIMER_INDEX); /* Edges: it need not be read. */
  return fd;
}

void arm_timer(int timer, uint64_t at) {
  const struct itimerspec when = {
      .it_value = {.tv_sec = (time_t)(at / NS_PER_SECOND), .tv_nsec = (long)(at % NS_PER_SECOND)}};
  if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) < 0) die("timerfd_settime", errno);
}
