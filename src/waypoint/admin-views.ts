/** What a waypoint shows on its admin port, as JSON and as text; the names are those of ztunnel's views. */
import type { View } from '../admin/interfaces.ts';
import type { SecretStore } from '../identity/secret.ts';
import type { WaypointServices } from './context.ts';
import { destinationLines, destinationViews } from './destination-view.ts';
import { type EffectiveViewOptions, effectiveViews } from './effective-views.ts';
import { telemetryLines, telemetryViews } from './telemetry/telemetry-view.ts';
import { buildWaypointViews, type ClusterView, type ListenerView, type WaypointViews } from './view.ts';

export interface WaypointViewOptions {
  readonly services: WaypointServices;
  readonly secrets: SecretStore;
  /** Where tunnels arrive. */
  readonly listenAddress: () => string;
  readonly compilation: EffectiveViewOptions['compilation'];
}

/** Names: the empty one is the whole dump; `listeners` is JSON, `listeners.txt` the same as text, and so on. */
export function waypointViews(options: WaypointViewOptions): readonly View[] {
  const { services, secrets, listenAddress } = options;
  const build = (query: URLSearchParams) => buildWaypointViews(services, listenAddress(), limitOf(query));
  const json = (name: string, data: (query: URLSearchParams) => unknown): View => ({
    name,
    contentType: 'application/json',
    render: (query) => `${JSON.stringify(data(query), undefined, 2)}\n`,
  });
  const text = (name: string, lines: (views: WaypointViews) => readonly string[]): View => ({
    name,
    contentType: 'text/plain; charset=utf-8',
    render: (query) => {
      const views = build(query);
      const notice = views.truncated ? ['(cut short: raise limit)'] : [];
      return `${[...lines(views), ...notice].join('\n')}\n`;
    },
  });
  return [
    json('', (query) => ({ ...build(query), certificates: certificates(secrets) })),
    json('listeners', (query) => build(query).listeners),
    text('listeners.txt', (views) => views.listeners.flatMap(listenerLines)),
    json('clusters', (query) => build(query).clusters.map(({ name, type }) => ({ name, type }))),
    text('clusters.txt', (views) => views.clusters.map(({ name, type }) => `cluster ${name}\n  type ${type}`)),
    json('endpoints', (query) => build(query).clusters.map(({ name, endpoints }) => ({ cluster: name, endpoints }))),
    text('endpoints.txt', (views) => views.clusters.flatMap(endpointLines)),
    json('extensions', () => services.extensions.describe()),
    json('destinations', (query) => destinationViews(services, limitOf(query))),
    {
      name: 'destinations.txt',
      contentType: 'text/plain; charset=utf-8',
      render: (query) => `${destinationLines(destinationViews(services, limitOf(query))).join('\n')}\n`,
    },
    ...effectiveViews(options),
    json('telemetry', (query) => telemetryViews(services, limitOf(query))),
    {
      name: 'telemetry.txt',
      contentType: 'text/plain; charset=utf-8',
      render: (query) => `${telemetryLines(telemetryViews(services, limitOf(query))).join('\n')}\n`,
    },
    json('certs', () => certificates(secrets)),
    text('certs.txt', () =>
      certificates(secrets).map(({ identity, state, until }) => `${identity} ${state} ${until ?? ''}`),
    ),
  ];
}

function listenerLines(listener: ListenerView): readonly string[] {
  return [
    `listener ${listener.name}`,
    ...(listener.address === undefined ? [] : [`  address ${listener.address}`]),
    ...listener.policies.map((policy) => `  policy ${policy}`),
    ...listener.routes.map(({ match, to }) => `  ${match} → ${to}`),
  ];
}

function endpointLines(cluster: ClusterView): readonly string[] {
  const lines = cluster.endpoints.map(({ address, health, workload, identity }) =>
    ['  ', [address, health, workload, identity].filter((part) => part !== undefined).join(' ')].join(''),
  );
  return [`cluster ${cluster.name}`, ...(lines.length === 0 ? ['  no endpoints'] : lines)];
}

function certificates(secrets: SecretStore) {
  return Array.from(secrets.states(), ([identity, state]) => {
    if (state.kind !== 'available') return { identity, state: state.kind };
    const { serialNumber, notAfterMs } = state.secret;
    return { identity, state: state.kind, serialNumber, until: new Date(notAfterMs).toISOString() };
  });
}

function limitOf(query: URLSearchParams): number {
  const asked = Number(query.get('limit') ?? 2000);
  return Number.isInteger(asked) && asked > 0 ? Math.min(asked, 20_000) : 2000;
}
