/**
 * One active health check: a request, or a connection, by the way that requests to the endpoint take: its tunnel, its proven
 * identity, TLS of the rule.
 */
import { Cancellation } from '../base/cancellation.ts';
import { reach } from '../mesh/usable-endpoint.ts';
import type { NamedCluster } from '../upstream/balance/clusters.ts';
import type { ProbeResult } from '../upstream/balance/health-checks.ts';
import type { Host } from '../upstream/balance/host.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { RunningTry } from '../upstream/pools.ts';
import type { WaypointServices } from './context.ts';
import { endpointAt, upstreamProtocol } from './endpoints.ts';
import { endpointByName } from './named-endpoints.ts';
import { profiledForAll } from './profiled-endpoint.ts';
import { declaredKind } from './protocol.ts';

/** Never rejects; is over within the time. */
export async function probeEndpoint(
  services: WaypointServices,
  { service: key, port, subset, cluster }: NamedCluster,
  host: Host,
  timeoutMs: number,
): Promise<ProbeResult> {
  const service = services.mesh.service(key);
  const { inputs } = cluster;
  const selection = inputs && reach(host.workload, { ...inputs.query, preferFamily: undefined });
  if (service === undefined || inputs === undefined || selection === undefined) return 'unknown';
  const upstream = services.upstreams.of(services.model(), services.own()?.namespace ?? '', service, port, subset);
  const { profile } = upstream;
  if (profile?.refusal !== undefined) return 'unknown';
  const bare =
    selection.kind === 'endpoint'
      ? endpointAt(services, selection.workload, selection.ip, selection.port)
      : selection.kind === 'hostname'
        ? endpointByName(services, selection.workload, selection.hostname, selection.port)
        : undefined;
  if (bare === undefined) return 'unknown';
  const endpoint = profile === undefined ? bare : profiledForAll(bare, profile);
  const path = inputs.healthCheck?.path;
  const speaksHttp = declaredKind(service.ports.get(port)?.appProtocol ?? 'unknown') !== 'tcp';
  // Who expects the PROXY protocol would not understand a request without it.
  if (path === undefined || !speaksHttp || profile?.proxyProtocol !== undefined) {
    return await connects(services, endpoint, timeoutMs);
  }
  const protocol = upstreamProtocol(service, port, '1.1', upstream.pool);
  return await answers(services, endpoint, protocol, { path, authority: `${service.hostname}:${port}` }, timeoutMs);
}

async function connects(
  services: WaypointServices,
  endpoint: UpstreamEndpoint,
  timeoutMs: number,
): Promise<ProbeResult> {
  const late = new Cancellation();
  const timer = services.clock.after(timeoutMs, () => late.cancel());
  const outcome = await services.connector.connect(endpoint, late);
  timer.cancel();
  if (outcome.kind === 'failed') return 'unwell';
  outcome.connected.stream.destroy();
  return late.cancelled ? 'unwell' : 'well';
}

function answers(
  { pools, clock }: WaypointServices,
  endpoint: UpstreamEndpoint,
  protocol: Parameters<WaypointServices['pools']['send']>[1],
  { path, authority }: { readonly path: string; readonly authority: string },
  timeoutMs: number,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    let running: RunningTry | undefined;
    const timer = clock.after(timeoutMs, () => {
      resolve('unwell');
      // Also of a page that began in time and has no end.
      running?.abort('the health check took too long');
    });
    const over = (result: ProbeResult) => {
      timer.cancel();
      resolve(result);
    };
    const headers = ['user-agent', 'ambit-health-check'];
    const request = { method: 'GET', path, authority, headers, body: undefined, upgrade: undefined };
    running = pools.send(endpoint, protocol, request, {
      inform: () => {},
      head: (status) => resolve(status >= 200 && status < 300 ? 'well' : 'unwell'),
      data: () => true,
      end: () => over('unwell'),
      upgraded: (_headers, stream) => {
        stream.destroy();
        over('unwell');
      },
      failed: ({ kind }) => over(kind === 'overflow' || kind === 'refused-stream' ? 'unknown' : 'unwell'),
    });
  });
}
