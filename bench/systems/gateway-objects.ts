/**
 * A service behind a waypoint of its own, with as many routes and policies as wanted, of which the last of each is the one
 * that a load meets: `/` is the least specific path, and whom the other policies allow is never there.
 */
import { ports } from '../model.ts';
import { spiffeOf } from './certificate.ts';
import { barePodObject, type KubernetesObject, type Places, podObject, serviceObject } from './objects.ts';

export const allowedMethods = ['GET', 'POST'] as const;
/** Where waypoints listen, under either preset: the Gateway says so. */
export const waypointPort = 15008;
const gatewayApi = 'gateway.networking.k8s.io';

/** The client is captured, the server is not: the waypoint goes on in plain. */
export function gatewayObjects(places: Places, count: number): readonly KubernetesObject[] {
  const { client, server, proxy } = places;
  const numbers = Array.from({ length: count }, (_, index) => index);
  return [
    podObject(client),
    barePodObject(server),
    serviceObject(places, { 'istio.io/use-waypoint': proxy.name }),
    gatewayObject(proxy.name),
    gatewayServiceObject(places),
    podObject(proxy, { [`${gatewayApi}/gateway-name`]: proxy.name }),
    ...numbers.map((number) => routeObject(places, number, number === count - 1)),
    ...numbers.map((number) => policyObject(places, number, number === count - 1)),
  ];
}

function gatewayObject(name: string): KubernetesObject {
  return {
    apiVersion: `${gatewayApi}/v1`,
    kind: 'Gateway',
    metadata: { name, namespace: 'default' },
    spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: waypointPort, protocol: 'HBONE' }] },
  };
}

function gatewayServiceObject({ proxy, proxyVip }: Places): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: proxy.name, namespace: 'default' },
    spec: {
      clusterIP: proxyVip,
      selector: { [`${gatewayApi}/gateway-name`]: proxy.name },
      ports: [{ name: 'mesh', port: waypointPort, appProtocol: 'hbone' }],
    },
  };
}

function routeObject({ server }: Places, number: number, last: boolean): KubernetesObject {
  const value = last ? '/' : `/api/v1/resource-${number}`;
  const parent = { group: '', kind: 'Service', name: server.name, port: ports.http };
  const backend = { name: server.name, port: ports.http };
  return {
    apiVersion: `${gatewayApi}/v1`,
    kind: 'HTTPRoute',
    metadata: { name: numbered(server.name, number), namespace: 'default' },
    spec: {
      parentRefs: [parent],
      rules: [{ matches: [{ path: { type: 'PathPrefix', value } }], backendRefs: [backend] }],
    },
  };
}

function policyObject({ server, client }: Places, number: number, last: boolean): KubernetesObject {
  const account = last ? client.name : `somebody-${number}`;
  const principal = spiffeOf(account).replace('spiffe://', '');
  const from = [{ source: { principals: [principal] } }];
  const to = [{ operation: { methods: allowedMethods } }];
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: numbered(server.name, number), namespace: 'default' },
    spec: {
      targetRefs: [{ group: '', kind: 'Service', name: server.name }],
      action: 'ALLOW',
      rules: [{ from, to }],
    },
  };
}

/** Names in the order of numbers, so that whoever goes through them by name meets the last one last. */
function numbered(name: string, number: number): string {
  return `${name}-${String(number).padStart(3, '0')}`;
}
