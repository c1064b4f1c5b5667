/* tcpload MODE ADDRESS PORT [--seconds S] [--connections N] [--rate R] */
#include "tcpload.h"

#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name;
  void (*run)(const struct options *);
} modes[] = {
    {"echo", run_echo}, {"connect", run_connect}, {"ping-pong", run_ping_pong},
    {"idle", run_idle}, {"rate", run_rate},
};

static _Noreturn void usage(void) {
  fprintf(stderr,
          "usage: tcpload echo|connect|ping-pong|idle|rate ADDRESS PORT [--seconds S] [--connections N] [--rate R]\n"
          "       S to 600, N to 100000, R to 1000000 per second; no more than %u latencies in all\n",
          SAMPLE_LIMIT);
  exit(2);
}

/* Above 0 and up to `largest`. */
static double read_number(const char *text, double largest) {
  char *end;
  const double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value > 0 && value <= largest)) usage();
  return value;
}

static void read_address(struct options *options, const char *host, const char *port) {
  const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  struct addrinfo *found;
  if (getaddrinfo(host, port, &hints, &found) != 0) usage();
  memcpy(&options->address, found->ai_addr, found->ai_addrlen);
  options->address_length = found->ai_addrlen;
  freeaddrinfo(found);
  const char *format = options->address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s";
  snprintf(options->authority, sizeof options->authority, format, host, port);
}

int main(int count, char **words) {
  static const struct option names[] = {
      {"seconds", required_argument, NULL, 's'},
      {"connections", required_argument, NULL, 'c'},
      {"rate", required_argument, NULL, 'r'},
      {0},
  };
  struct options options = {.seconds = 1, .connections = 1, .rate = 1000};
  for (int found; (found = getopt_long(count, words, "", names, NULL)) != -1;) {
    if (found == 's')
      options.seconds = read_number(optarg, 600);
    else if (found == 'c')
      options.connections = (uint32_t)read_number(optarg, 100000);
    else if (found == 'r')
      options.rate = read_number(optarg, 1000000);
    else
      usage();
  }
  if (count - optind != 3 || options.connections == 0) usage();
  read_address(&options, words[optind + 1], words[optind + 2]);
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    if (strcmp(words[optind], modes[i].name) != 0) continue;
    modes[i].run(&options);
    return 0;
  }
  usage();
}
