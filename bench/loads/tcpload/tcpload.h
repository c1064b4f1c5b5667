/*
 * tcpload: the loads of the bench that no common tool makes. One thread, one epoll, one mode a run; one line of JSON.
 *
 * I1: whatever was begun ends as a unit or as a named error; nothing is dropped silently.
 * I2: percentiles are exact: every latency is kept, and a run that would exceed the room for them is refused or ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define NS_PER_SECOND 1000000000ull
/* How long what is in flight at the end of a run may still take. */
#define GRACE_NS (2 * NS_PER_SECOND)
/* A closed loop ends after so many errors: a peer that refuses would otherwise be asked as fast as it can refuse. */
#define ERROR_LIMIT 1000u
#define SAMPLE_LIMIT (8u << 20)
#define EVENT_LIMIT 256
/* What epoll reports in place of a connection's index. */
#define TIMER_INDEX UINT32_MAX
#define SIGNAL_INDEX (UINT32_MAX - 1)

struct options {
  struct sockaddr_storage address;
  socklen_t address_length;
  /* `ADDRESS:PORT`, for the Host header. */
  char authority[80];
  double seconds;
  uint32_t connections;
  /* Requests, or new connections, per second. */
  double rate;
};

/* The modes. Each returns when its run is over; a cause that forbids the run ends the program. */
void run_echo(const struct options *options);
void run_connect(const struct options *options);
void run_ping_pong(const struct options *options);
void run_idle(const struct options *options);
void run_rate(const struct options *options);

/* support.c */
_Noreturn void die(const char *what, int error);
uint64_t now_ns(void);
void *allocate(size_t count, size_t size);
/* Room for so many descriptors, or the end of the program. */
void require_descriptors(uint64_t count);
/* As many as may be had. */
void raise_descriptors(void);
/* Begins a connection without waiting. Returns a descriptor that epoll does not know yet, or -1 with errno. */
int begin_connection(const struct options *options);
int take_socket_error(int fd);
int make_epoll(void);
/* Reports edges. */
void watch(int epoll, int fd, uint32_t events, uint32_t index);
int make_timer(int epoll);
/* At a time of `now_ns`; replaces the former one. */
void arm_timer(int timer, uint64_t at);

/* result.c */
void add_sample(uint64_t ns);
bool samples_full(void);
/* `what: detail`, or `what` alone. */
void add_errors(uint64_t count, const char *what, const char *detail);
uint64_t error_count(void);
void print_result(uint64_t units, uint64_t elapsed_ns);
