/** Envoy's response flags: their long names, and the bits that `response.flags` of expressions has. */

const known: readonly (readonly [short: string, long: string])[] = [
  ['LH', 'FailedLocalHealthCheck'],
  ['UH', 'NoHealthyUpstream'],
  ['UT', 'UpstreamRequestTimeout'],
  ['LR', 'LocalReset'],
  ['UR', 'UpstreamRemoteReset'],
  ['UF', 'UpstreamConnectionFailure'],
  ['UC', 'UpstreamConnectionTermination'],
  ['UO', 'UpstreamOverflow'],
  ['NR', 'NoRouteFound'],
  ['DI', 'DelayInjected'],
  ['FI', 'FaultInjected'],
  ['RL', 'RateLimited'],
  ['UAEX', 'UnauthorizedExternalService'],
  ['RLSE', 'RateLimitServiceError'],
  ['DC', 'DownstreamConnectionTermination'],
  ['URX', 'UpstreamRetryLimitExceeded'],
  ['SI', 'StreamIdleTimeout'],
  ['IH', 'InvalidEnvoyRequestHeaders'],
  ['DPE', 'DownstreamProtocolError'],
  ['UMSDR', 'UpstreamMaxStreamDurationReached'],
  ['RFCF', 'ResponseFromCacheFilter'],
  ['NFCF', 'NoFilterConfigFound'],
  ['DT', 'DurationTimeout'],
  ['UPE', 'UpstreamProtocolError'],
  ['NC', 'NoClusterFound'],
  ['OM', 'OverloadManagerTerminated'],
  ['DF', 'DnsResolutionFailed'],
  ['DO', 'DropOverload'],
  ['DR', 'DownstreamRemoteReset'],
  ['UDO', 'UnconditionalDropOverload'],
];

const longNames = new Map(known);
const bits = new Map(known.map(([short], bit) => [short, 2 ** bit]));

export function flagBits(flags: string): number {
  if (flags === '-') return 0;
  let sum = 0;
  for (const flag of new Set(flags.split(','))) sum += bits.get(flag) ?? 0;
  return sum;
}

/** Ours that Envoy does not have stay as they are. */
export function longFlags(flags: string): string {
  return flags === '-'
    ? '-'
    : flags
        .split(',')
        .map((flag) => longNames.get(flag) ?? flag)
        .join(',');
}
