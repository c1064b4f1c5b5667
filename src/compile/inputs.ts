/**
 * All objects of a compilation, parsed and sorted by kind. Parsing is kept per object; a duplicate loses to the first,
 * and kinds without a meaning here are named once.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import { type AuthorizationPolicySpec, parseAuthorizationPolicy } from './authorization-policy.ts';
import { type BackendTlsPolicySpec, parseBackendTlsPolicy } from './backend-tls-policy.ts';
import { type BackendTrafficPolicySpec, parseBackendTrafficPolicy } from './backend-traffic-policy.ts';
import { type CredentialSpec, parseAuthorities, parseCredential } from './credential.ts';
import { type DestinationRuleSpec, parseDestinationRule } from './destination-rule.ts';
import { parseEndpointSlice, type SliceSpec } from './endpoint-slice.ts';
import { type ExtensionSpec, parseExtension } from './extension.ts';
import { type GatewaySpec, parseGateway } from './gateway.ts';
import { parseGrpcRoute } from './grpc-route.ts';
import { type HttpRouteSpec, parseHttpRoute } from './http-route.ts';
import { type MeshConfigSpec, parseMeshConfig } from './mesh-config.ts';
import { type NamespaceSpec, parseNamespace } from './namespace.ts';
import { type NodeSpec, parseNode } from './node.ts';
import {
  type ConfigObject,
  diagnose,
  objectGroup,
  objectName,
  olderFirst,
  type Parsed,
  qualifiedName,
} from './object.ts';
import { type PeerAuthenticationSpec, parsePeerAuthentication } from './peer-authentication.ts';
import { type PodSpec, parsePod } from './pod.ts';
import { parseReferenceGrant, type ReferenceGrantSpec } from './reference-grant.ts';
import { parseRequestAuthentication, type RequestAuthenticationSpec } from './request-authentication.ts';
import type { RouteKind, RouteOfKind, RouteSpec } from './route-spec.ts';
import { parseService, type ServiceSpec } from './service.ts';
import { parseServiceEntry } from './service-entry.ts';
import { entryServices } from './service-entry-hosts.ts';
import { parseTcpRoute, type TcpRouteSpec } from './tcp-route.ts';
import { parseTelemetry, type TelemetrySpec } from './telemetry.ts';
import { parseTlsRoute, type TlsRouteSpec } from './tls-route.ts';
import { parseTrafficProtection, type TrafficProtectionSpec } from './traffic-protection.ts';
import { accountSchema } from './values.ts';
import { parseVirtualService, type VirtualServiceSpec } from './virtual-service.ts';
import { parseWorkloadEntry, type WorkloadEntrySpec } from './workload-entry.ts';

export interface Inputs {
  readonly namespaces: ReadonlyMap<string, NamespaceSpec>;
  readonly nodes: ReadonlyMap<string, NodeSpec>;
  readonly pods: readonly PodSpec[];
  /** By `namespace/name`; hosts of ServiceEntries by `namespace/host`. */
  readonly services: ReadonlyMap<string, ServiceSpec>;
  /** Hosts of each ServiceEntry, by `namespace/name`. */
  readonly entryHosts: ReadonlyMap<string, readonly ServiceSpec[]>;
  /** The same by their host. */
  readonly servicesByEntryHost: ReadonlyMap<string, readonly ServiceSpec[]>;
  readonly workloadEntries: readonly WorkloadEntrySpec[];
  readonly backendTlsPolicies: readonly BackendTlsPolicySpec[];
  readonly backendTrafficPolicies: readonly BackendTrafficPolicySpec[];
  readonly credentials: readonly CredentialSpec[];
  /** PEM of ConfigMaps, by `namespace/name`. */
  readonly authorities: ReadonlyMap<string, string>;
  readonly slices: readonly SliceSpec[];
  /** `namespace/name`. */
  readonly serviceAccounts: ReadonlySet<string>;
  /** Oldest first, as are the following. */
  readonly gateways: readonly GatewaySpec[];
  readonly httpRoutes: readonly HttpRouteSpec[];
  readonly grpcRoutes: readonly HttpRouteSpec[];
  readonly tcpRoutes: readonly TcpRouteSpec[];
  readonly tlsRoutes: readonly TlsRouteSpec[];
  readonly virtualServices: readonly VirtualServiceSpec[];
  readonly destinationRules: readonly DestinationRuleSpec[];
  /** By `namespace/name`. */
  readonly virtualByName: ReadonlyMap<string, VirtualServiceSpec>;
  readonly referenceGrants: readonly ReferenceGrantSpec[];
  readonly policies: readonly AuthorizationPolicySpec[];
  readonly peerAuthentications: readonly PeerAuthenticationSpec[];
  readonly requestAuthentications: readonly RequestAuthenticationSpec[];
  readonly extensions: readonly ExtensionSpec[];
  readonly trafficProtections: readonly TrafficProtectionSpec[];
  readonly meshConfigs: readonly MeshConfigSpec[];
  readonly telemetries: readonly TelemetrySpec[];
}

const kinds: Readonly<Record<string, ((object: ConfigObject) => Parsed<unknown>) | undefined>> = {
  '/Namespace': parseNamespace,
  '/Node': parseNode,
  '/Pod': parsePod,
  '/Secret': parseCredential,
  '/Service': parseService,
  '/ServiceAccount': parseServiceAccount,
  '/ConfigMap': parseMeshConfig,
  'install.istio.io/IstioOperator': parseMeshConfig,
  'mesh.istio.io/MeshConfig': parseMeshConfig,
  'discovery.k8s.io/EndpointSlice': parseEndpointSlice,
  'gateway.networking.k8s.io/BackendTLSPolicy': parseBackendTlsPolicy,
  'gateway.networking.k8s.io/Gateway': parseGateway,
  'gateway.networking.k8s.io/HTTPRoute': parseHttpRoute,
  'gateway.networking.k8s.io/GRPCRoute': parseGrpcRoute,
  'gateway.networking.k8s.io/TCPRoute': parseTcpRoute,
  'gateway.networking.x-k8s.io/XBackendTrafficPolicy': parseBackendTrafficPolicy,
  'networking.istio.io/ServiceEntry': parseServiceEntry,
  'gateway.networking.k8s.io/TLSRoute': parseTlsRoute,
  'gateway.networking.k8s.io/ReferenceGrant': parseReferenceGrant,
  'networking.istio.io/VirtualService': parseVirtualService,
  'networking.istio.io/WorkloadEntry': parseWorkloadEntry,
  'networking.istio.io/DestinationRule': parseDestinationRule,
  'security.istio.io/AuthorizationPolicy': parseAuthorizationPolicy,
  'security.istio.io/PeerAuthentication': parsePeerAuthentication,
  'security.istio.io/RequestAuthentication': parseRequestAuthentication,
  'ambit.dev/Extension': parseExtension,
  'ambit.dev/TrafficProtection': parseTrafficProtection,
  'telemetry.istio.io/Telemetry': parseTelemetry,
};

/** Objects looked at before the generator yields. */
const objectsPerStep = 500;

/**
 * What is wrong with an object by itself, whatever else there is. A source that keeps the last good version of an object
 * asks this before it hands over a new one.
 */
export function checkObject(object: ConfigObject): readonly Diagnostic[] {
  return kinds[kindKey(object)]?.(object).diagnostics ?? [];
}

/** Yields where it may pause. */
export function* inputSteps(objects: readonly ConfigObject[], diagnostics: Diagnostic[]): Generator<undefined, Inputs> {
  const kept = new Map<string, ConfigObject[]>(Object.keys(kinds).map((kind) => [kind, []]));
  const seen = new Map<string, Set<string>>();
  const ignored = new Set<string>();
  for (const [i, object] of objects.entries()) {
    if (i % objectsPerStep === objectsPerStep - 1) yield;
    const kind = kindKey(object);
    const list = kept.get(kind);
    if (list === undefined) {
      if (!ignored.has(kind))
        diagnostics.push(diagnose(object, 'KIND_IGNORED', `${object.apiVersion} ${object.kind} is not used`));
      ignored.add(kind);
      continue;
    }
    const name = qualifiedName(object);
    const names = seen.getOrInsertComputed(kind, newNames);
    if (names.has(name)) {
      diagnostics.push(
        diagnose(object, 'OBJECT_DUPLICATE', `another ${objectName(object)} was read before; this one is not used`),
      );
      continue;
    }
    names.add(name);
    list.push(object);
  }
  // Parsed here, step by step; what follows finds it done.
  for (const [kind, list] of kept) {
    const parse = kinds[kind];
    for (const [i, object] of list.entries()) {
      parse?.(object);
      if (i % objectsPerStep === objectsPerStep - 1) yield;
    }
  }
  const parseAll = <T>(kind: string, parse: (object: ConfigObject) => Parsed<T>): T[] => {
    const values: T[] = [];
    for (const object of kept.get(kind) ?? []) {
      const parsed = parse(object);
      if (parsed.diagnostics.length > 0) diagnostics.push(...parsed.diagnostics);
      if (parsed.value !== undefined) values.push(parsed.value);
    }
    return values;
  };
  const aged = <T extends { readonly object: ConfigObject }>(
    kind: string,
    parse: (object: ConfigObject) => Parsed<T>,
  ) => parseAll(kind, parse).sort((a, b) => olderFirst(a.object, b.object));
  const entries = entryServices(aged('networking.istio.io/ServiceEntry', parseServiceEntry));
  const virtualServices = aged('networking.istio.io/VirtualService', parseVirtualService);
  return {
    namespaces: new Map(parseAll('/Namespace', parseNamespace).map((namespace) => [namespace.name, namespace])),
    nodes: new Map(parseAll('/Node', parseNode).map((node) => [node.name, node])),
    pods: parseAll('/Pod', parsePod),
    services: new Map([
      ...parseAll('/Service', parseService).map((spec) => [`${spec.namespace}/${spec.name}`, spec] as const),
      ...entries,
    ]),
    entryHosts: Map.groupBy(entries.values(), ({ namespace, name }) => `${namespace}/${name}`),
    servicesByEntryHost: Map.groupBy(entries.values(), ({ entry }) => entry?.host ?? ''),
    backendTlsPolicies: aged('gateway.networking.k8s.io/BackendTLSPolicy', parseBackendTlsPolicy),
    backendTrafficPolicies: aged('gateway.networking.x-k8s.io/XBackendTrafficPolicy', parseBackendTrafficPolicy),
    credentials: parseAll('/Secret', parseCredential),
    authorities: new Map(
      parseAll('/ConfigMap', parseAuthorities).map((spec) => [`${spec.namespace}/${spec.name}`, spec.authorities]),
    ),
    workloadEntries: parseAll('networking.istio.io/WorkloadEntry', parseWorkloadEntry),
    slices: parseAll('discovery.k8s.io/EndpointSlice', parseEndpointSlice),
    serviceAccounts: new Set(parseAll('/ServiceAccount', parseServiceAccount)),
    gateways: aged('gateway.networking.k8s.io/Gateway', parseGateway),
    httpRoutes: aged('gateway.networking.k8s.io/HTTPRoute', parseHttpRoute),
    grpcRoutes: aged('gateway.networking.k8s.io/GRPCRoute', parseGrpcRoute),
    tcpRoutes: aged('gateway.networking.k8s.io/TCPRoute', parseTcpRoute),
    destinationRules: aged('networking.istio.io/DestinationRule', parseDestinationRule),
    tlsRoutes: aged('gateway.networking.k8s.io/TLSRoute', parseTlsRoute),
    virtualServices,
    virtualByName: new Map(virtualServices.map((spec) => [qualifiedName(spec.object), spec])),
    referenceGrants: parseAll('gateway.networking.k8s.io/ReferenceGrant', parseReferenceGrant),
    policies: aged('security.istio.io/AuthorizationPolicy', parseAuthorizationPolicy),
    peerAuthentications: aged('security.istio.io/PeerAuthentication', parsePeerAuthentication),
    requestAuthentications: aged('security.istio.io/RequestAuthentication', parseRequestAuthentication),
    extensions: aged('ambit.dev/Extension', parseExtension),
    trafficProtections: aged('ambit.dev/TrafficProtection', parseTrafficProtection),
    meshConfigs: ['/ConfigMap', 'install.istio.io/IstioOperator', 'mesh.istio.io/MeshConfig'].flatMap((kind) =>
      aged(kind, parseMeshConfig),
    ),
    telemetries: aged('telemetry.istio.io/Telemetry', parseTelemetry),
  };
}

/** Whether nothing but routes depends on the object. */
export function isRouteKind(object: ConfigObject): boolean {
  const kind = kindKey(object);
  return routeParsers[kind] !== undefined || kind === 'gateway.networking.k8s.io/ReferenceGrant';
}

/** Undefined: it is of another kind, or cannot be used. */
export function parseRoute(object: ConfigObject): RouteOfKind | undefined {
  const kind = routeParsers[kindKey(object)];
  const spec = kind?.parse(object).value;
  return kind === undefined || spec === undefined ? undefined : { kind: kind.kind, spec };
}

const routeParsers: Readonly<
  Record<string, { readonly kind: RouteKind; readonly parse: (object: ConfigObject) => Parsed<RouteSpec> } | undefined>
> = {
  'gateway.networking.k8s.io/HTTPRoute': { kind: 'http', parse: parseHttpRoute },
  'gateway.networking.k8s.io/GRPCRoute': { kind: 'grpc', parse: parseGrpcRoute },
  'gateway.networking.k8s.io/TLSRoute': { kind: 'tls', parse: parseTlsRoute },
  'gateway.networking.k8s.io/TCPRoute': { kind: 'tcp', parse: parseTcpRoute },
  'networking.istio.io/VirtualService': { kind: 'virtual', parse: parseVirtualService },
};

/** Named only so that a Gateway without an account knows them all: `namespace/name`. */
function parseServiceAccount(object: ConfigObject): Parsed<string> {
  const { namespace, name } = object.metadata;
  if (accountSchema.safeParse(name).success) return { value: `${namespace}/${name}`, diagnostics: [] };
  const message = `not a name of a service account: ${name}`;
  return { value: undefined, diagnostics: [diagnose(object, 'OBJECT_INVALID', message, ['metadata', 'name'])] };
}

/** Versions of a group are the same kind: the preview's v1alpha2 Gateway and today's v1. */
function kindKey(object: ConfigObject): string {
  const { apiVersion, kind } = object;
  const known = kindKeys.get(apiVersion)?.get(kind);
  if (known !== undefined) return known;
  const key = `${objectGroup(object)}/${kind}`;
  // What is no kind of ours can have any name, and a version, too.
  if (kinds[key] !== undefined && kindKeys.size < mostVersions)
    kindKeys.getOrInsertComputed(apiVersion, newKeys).set(kind, key);
  return key;
}

const kindKeys = new Map<string, Map<string, string>>();
const mostVersions = 256;

function newKeys(): Map<string, string> {
  return new Map();
}

function newNames(): Set<string> {
  return new Set();
}
