/** Draws from a list of hosts by their weights: the random choice, and the better of two. */
import type { Random } from '../../base/random.ts';
import type { Warmup } from '../../route/destination.ts';
import type { Host } from './host.ts';
import { warmupFactor } from './warmup.ts';

/** Hosts that are drawn from, with what makes drawing quick. */
export interface Urn {
  readonly hosts: readonly Host[];
  /** Sums of the weights up to and with each; undefined: all are equal. */
  readonly sums: Float64Array | undefined;
}

/** Draws in vain before a new host is taken all the same. */
const warmupDraws = 8;

export function makeUrn(hosts: readonly Host[]): Urn {
  const first = hosts[0]?.weight ?? 1;
  if (hosts.every(({ weight }) => weight === first)) return { hosts, sums: undefined };
  const sums = new Float64Array(hosts.length);
  let sum = 0;
  for (const [i, { weight }] of hosts.entries()) {
    sum += weight;
    sums[i] = sum;
  }
  return { hosts, sums };
}

/** The urn is not empty. */
export function drawHost(urn: Urn, random: Random, warmup: Warmup | undefined, nowMs: number): Host {
  let host = draw(urn, random);
  if (warmup === undefined) return host;
  for (let i = 0; i < warmupDraws; i++) {
    const factor = warmupFactor(warmup, nowMs - host.sinceMs);
    if (factor >= 1 || random.next() < factor) return host;
    host = draw(urn, random);
  }
  return host;
}

/** The one of two with less under way for its weight: Envoy's least request ("power of two choices"). */
export function drawLessBusy(urn: Urn, random: Random, warmup: Warmup | undefined, nowMs: number): Host {
  const one = drawHost(urn, random, warmup, nowMs);
  const two = drawHost(urn, random, warmup, nowMs);
  return two.active * one.weight < one.active * two.weight ? two : one;
}

function draw({ hosts, sums }: Urn, random: Random): Host {
  if (sums === undefined) return hosts[Math.floor(random.next() * hosts.length)] as Host;
  const point = random.next() * (sums[sums.length - 1] as number);
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sums[middle] as number) > point) high = middle;
    else low = middle + 1;
  }
  return hosts[low] as Host;
}
