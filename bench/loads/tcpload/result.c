/* What a run gave: every latency, every error by name, and the line of JSON that tells them. */
#include "tcpload.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LIMIT 24
#define NAME_LENGTH 96
/* Latencies are kept as tenths of microseconds: 32 bits of them are seven minutes. */
#define TICK_NS 100

static uint32_t *samples;
static size_t sample_count;

static struct {
  char name[NAME_LENGTH];
  uint64_t count;
} errors[NAME_LIMIT];
static size_t error_names;

void add_sample(uint64_t ns) {
  if (samples == NULL) samples = allocate(SAMPLE_LIMIT, sizeof *samples);
  if (sample_count == SAMPLE_LIMIT) die("more samples than there is room for", 0);
  const uint64_t ticks = ns / TICK_NS;
  samples[sample_count++] = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

bool samples_full(void) { return sample_count == SAMPLE_LIMIT; }

void add_errors(uint64_t count, const char *what, const char *detail) {
  if (count == 0) return;
  char name[NAME_LENGTH];
  if (error_names == NAME_LIMIT - 1)
    snprintf(name, sizeof name, "others");
  else
    snprintf(name, sizeof name, "%s%s%s", what, detail == NULL ? "" : ": ", detail == NULL ? "" : detail);
  size_t i = 0;
  while (i < error_names && strcmp(errors[i].name, name) != 0) i++;
  if (i == error_names) memcpy(errors[error_names++].name, name, sizeof name);
  errors[i].count += count;
}

uint64_t error_count(void) {
  uint64_t sum = 0;
  for (size_t i = 0; i < error_names; i++) sum += errors[i].count;
  return sum;
}

static int compare(const void *a, const void *b) {
  const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

/* The smallest sample that so large a part of all do not exceed (nearest rank). */
static double percentile_us(double part) {
  const size_t rank = (size_t)ceil(part * (double)sample_count);
  return (double)samples[rank == 0 ? 0 : rank - 1] * TICK_NS / 1000;
}

void print_result(uint64_t units, uint64_t elapsed_ns) {
  printf("{\"units\":%llu,\"seconds\":%.6f,\"latencyUs\":", (unsigned long long)units,
         (double)elapsed_ns / NS_PER_SECOND);
  if (sample_count == 0) {
    printf("null");
  } else {
    qsort(samples, sample_count, sizeof *samples, compare);
    printf("{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f}", percentile_us(0.5), percentile_us(0.9),
           percentile_us(0.99), percentile_us(0.999));
  }
  printf(",\"errors\":{");
  for (size_t i = 0; i < error_names; i++)
    printf("%s\"%s\":%llu", i == 0 ? "" : ",", errors[i].name, (unsigned long long)errors[i].count);
  printf("}}\n");
  if (fflush(stdout) != 0) exit(1);
}
