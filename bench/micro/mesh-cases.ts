/** Decisions about a connection at its source: the filter chain, one endpoint of a service, a waypoint. */
import { modernPreset } from '../../src/config/preset.ts';
import type { LoadBalancing, Service, Workload } from '../../src/mesh/model.ts';
import { selectEndpoint } from '../../src/mesh/select-endpoint.ts';
import { FilterChainMatcher } from '../../src/ztunnel/matcher.ts';
import { namesOf } from '../../src/ztunnel/names.ts';
import { decideOutbound } from '../../src/ztunnel/outbound-decision.ts';
import { defaultZtunnelSettings } from '../../src/ztunnel/settings.ts';
import { makeChange } from '../../test/support/mesh-records.ts';
import type { Operation } from './measure.ts';
import { buildMesh, gatewayOf, serviceAt, serviceIp, workloadAt, workloadIp } from './mesh-world.ts';
import { type MicroCase, sized } from './micro-case.ts';
import { seededRandom } from './seeded-random.ts';

const anyEndpoint: LoadBalancing = { mode: 'any', preferences: [], allowUnhealthy: false };
const nearest: LoadBalancing = { mode: 'failover', preferences: ['region', 'zone'], allowUnhealthy: false };

export const meshCases: readonly MicroCase[] = [
  ...sized('matcher', 'workloads', { 100: 1500, 10000: 2500, 100000: 4000 }, matcher),
  ...sized('outbound-decision', 'workloads', { 100: 8000, 10000: 10_000 }, outboundDecision),
  ...sized('waypoint-decision', 'waypoint pods', { 1: 8000, 1000: 10_000 }, waypointDecision),
  ...sized('endpoint-choice', 'endpoints', { 10: 1000, 1000: 1000, 10000: 1500 }, (n) =>
    endpointChoice(n, anyEndpoint),
  ),
  ...sized('endpoint-nearest', 'endpoints', { 10: 1500, 1000: 1500, 10000: 2000 }, (n) => endpointChoice(n, nearest)),
];

function matcherOf(workloads: number, services: number) {
  const mesh = buildMesh({ workloads, services });
  const names = namesOf(modernPreset);
  const settings = defaultZtunnelSettings;
  const deliversLocally = () => false;
  return {
    mesh,
    settings,
    deliversLocally,
    matcher: new FilterChainMatcher({ mesh, names, preset: modernPreset, settings, deliversLocally }),
  };
}

/** Sources and destinations all over the mesh; chains are made on first use, which is part of the cost. */
function matcher(workloads: number): Operation {
  const services = Math.max(10, workloads / 10);
  const { mesh, matcher } = matcherOf(workloads, services);
  const sources = [...mesh.workloads()].slice(0, 100);
  const destinations = Array.from({ length: 1000 }, (_, i) => ({
    ip: i % 2 === 0 ? serviceIp((i * 7919) % services) : workloadIp((i * 7919) % workloads),
    port: 80,
  }));
  return (i) => matcher.match(at(sources, i), at(destinations, i)).chain.name.length;
}

function outboundDecision(workloads: number): Operation {
  const services = Math.max(10, workloads / 10);
  const { mesh, matcher, settings, deliversLocally } = matcherOf(workloads, services);
  const sources = [...mesh.workloads()].slice(0, 100);
  const sockets = { preset: modernPreset, namespace: undefined, spoofing: true };
  const context = { mesh, matcher, settings, sockets, random: seededRandom(1), deliversLocally };
  return (i) => {
    const source = at(sources, i);
    const client = { ip: source.addresses[0] ?? '', port: 40_000 };
    const destination = { ip: serviceIp((i * 7919) % services), port: 80 };
    return decideOutbound({ source, client, destination }, context).reason.length;
  };
}

/** A service behind a waypoint of many pods. */
function waypointDecision(pods: number): Operation {
  const { mesh, matcher, settings, deliversLocally } = matcherOf(100, 10);
  const waypoint = serviceAt(1000, { ports: new Map() });
  const behind = serviceAt(1001, { waypoint: gatewayOf(waypoint) });
  const applicationTunnel = { protocol: 'none', port: 15008 } as const;
  const workloads = Array.from({ length: pods }, (_, i) => workloadAt(1000 + i, [waypoint], { applicationTunnel }));
  mesh.apply(makeChange({ services: [waypoint, behind], workloads }));
  const sources = [...mesh.workloads()].slice(0, 100);
  const sockets = { preset: modernPreset, namespace: undefined, spoofing: true };
  const context = { mesh, matcher, settings, sockets, random: seededRandom(1), deliversLocally };
  const destination = { ip: serviceIp(1001), port: 80 };
  return (i) => {
    const source = at(sources, i);
    const client = { ip: source.addresses[0] ?? '', port: 40_000 };
    return decideOutbound({ source, client, destination }, context).kind.length;
  };
}

function endpointChoice(count: number, loadBalancing: LoadBalancing): Operation {
  const service: Service = serviceAt(0, { loadBalancing });
  const endpoints: readonly Workload[] = Array.from({ length: count }, (_, i) => workloadAt(i, [service]));
  const sources = Array.from({ length: 100 }, (_, i) => workloadAt(20_000 + i, []));
  const random = seededRandom(1);
  return (i) => {
    const selection = selectEndpoint({
      service,
      endpoints,
      servicePort: 80,
      source: at(sources, i),
      preferFamily: 4,
      resolution: 'service',
      random,
    });
    return selection.kind === 'endpoint' ? selection.port : 0;
  };
}

function at<T>(list: readonly T[], i: number): T {
  return list[i % list.length] as T;
}
