/** Routes of one port for connections: from TLSRoutes, from the oldest TCPRoute, or from VirtualServices as written. */
import type { RouteBackend, StreamRoute } from '../route/model.ts';
import { diagnose } from './object.ts';
import { type Attachment, attachedName } from './route-attachments.ts';
import { type Consumer, find, type RouteContext, resolveBackend } from './route-context.ts';
import type { TcpRouteSpec } from './tcp-route.ts';
import type { TlsRouteSpec } from './tls-route.ts';
import { virtualBackend } from './virtual-routes.ts';
import type { VirtualServiceSpec } from './virtual-service.ts';

const anybody = { sourceNamespace: undefined, sourceLabels: [], destinations: undefined } as const;

/** The most specific name first: one without a star, then the longest. A route without names comes last. */
export function tlsStreams(
  attached: readonly Attachment<TlsRouteSpec>[],
  port: number,
  context: RouteContext,
): readonly StreamRoute[] {
  const routes = attached.flatMap(({ spec, consumer }): StreamRoute[] => {
    const backends = spec.backends.map((backend) => resolveBackend(spec, backend, port, context, consumerOf(consumer)));
    const { namespace, name } = spec.object.metadata;
    const common = { source: { kind: spec.object.kind, namespace, name }, ...anybody, backends: orNowhere(backends) };
    if (spec.hostnames.length === 0) return [{ name: `${namespace}/${name}/0/0`, ...common, serverNames: undefined }];
    return spec.hostnames.map((host, i) => ({ name: `${namespace}/${name}/0/${i}`, ...common, serverNames: [host] }));
  });
  // Sorting is stable: of equal names the oldest route's is used.
  return routes.sort((a, b) => specificity(b) - specificity(a));
}

function specificity({ serverNames }: StreamRoute): number {
  const [name] = serverNames ?? [];
  return name === undefined ? 0 : name.startsWith('*') ? name.length : 1000 + name.length;
}

/** A TCPRoute has no matches: the oldest of a port is used. */
export function tcpStreams(
  attached: readonly Attachment<TcpRouteSpec>[],
  port: number,
  context: RouteContext,
): readonly StreamRoute[] {
  const [oldest, ...others] = attached;
  if (oldest === undefined) return [];
  const { spec, consumer } = oldest;
  for (const other of others) {
    const message = `${attachedName(oldest)} is older and routes port ${port}`;
    context.diagnostics.push(diagnose(other.spec.object, 'ROUTE_SHADOWED', message, other.path));
    find(context, other.spec.object, port, 'Accepted', 'Conflicted', message);
  }
  const backends = spec.backends.map((backend) => resolveBackend(spec, backend, port, context, consumerOf(consumer)));
  const { namespace, name } = spec.object.metadata;
  const source = { kind: spec.object.kind, namespace, name };
  return [
    { name: `${namespace}/${name}/0/0`, source, serverNames: undefined, ...anybody, backends: orNowhere(backends) },
  ];
}

export function virtualStreams(
  attached: readonly Attachment<VirtualServiceSpec>[],
  port: number,
  context: RouteContext,
): readonly StreamRoute[] {
  return attached.flatMap(({ spec }) =>
    spec.streams.flatMap(({ kind, index, matches, destinations }): StreamRoute[] => {
      const here = matches.filter((match) => match.port === undefined || match.port === port);
      if (here.length === 0) return [];
      const backends = orNowhere(destinations.map((to) => virtualBackend(spec, to, port, context)));
      const { namespace, name } = spec.object.metadata;
      return here.map((match) => ({
        name: `${namespace}/${name}/${kind}.${index}/${match.index}`,
        source: { kind: spec.object.kind, namespace, name },
        serverNames: match.serverNames,
        sourceNamespace: match.sourceNamespace,
        sourceLabels: match.sourceLabels,
        destinations: match.destinations,
        backends,
      }));
    }),
  );
}

/** Bytes go on as they came. */
function consumerOf(namespace: string | undefined): Consumer | undefined {
  return namespace === undefined ? undefined : { namespace, changesRequests: false };
}

/** Routes to nothing are refused, not forwarded plainly. */
function orNowhere(backends: readonly RouteBackend[]): readonly RouteBackend[] {
  return backends.length === 0 ? [nowhere] : backends;
}

const nowhere: RouteBackend = {
  service: undefined,
  port: 0,
  weight: 1,
  requestHeaders: undefined,
  responseHeaders: undefined,
};
