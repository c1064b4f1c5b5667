/**
 * Every code a compilation may report, with its severity and meaning: the table of docs/configuration.md. A code never
 * changes its meaning; users filter on it.
 *
 * An error means that something the user asked for is not done; what is left is never more open than what was asked. A
 * TrafficProtection that cannot be read is the exception: it limits nothing.
 */
import type { Severity } from '../base/diagnostics.ts';

interface CodeEntry {
  readonly severity: Severity;
  readonly meaning: string;
}

function entry(severity: Severity, meaning: string): CodeEntry {
  return { severity, meaning };
}

export const compileCodes = {
  OBJECT_NOT_KUBERNETES: entry('error', 'the document has no apiVersion, kind and metadata.name'),
  OBJECT_INVALID: entry(
    'error',
    'a field has the wrong form; nothing of the object is used, unless the field says otherwise',
  ),
  OBJECT_DUPLICATE: entry('error', 'two objects of one kind, namespace and name; the first is used'),
  KIND_IGNORED: entry('info', 'Ambit has no use for objects of this kind; said once per kind'),
  POD_WITHOUT_ADDRESS: entry('info', 'the pod has no IP yet and is left out'),
  SERVICE_PORT_NOT_TCP: entry('info', 'the port is not TCP and is left out'),
  SLICE_WITHOUT_SERVICE: entry('warning', 'the EndpointSlice names no Service that exists'),
  GATEWAY_IGNORED: entry('info', 'the Gateway is no waypoint: its class is unknown or it has no HBONE listener'),
  GATEWAY_NO_ENDPOINTS: entry('warning', 'the waypoint has no pods; what is bound to it is refused until it has'),
  GATEWAY_CONFLICT: entry('error', 'two Gateways claim one service account; the older is used'),
  WAYPOINT_UNKNOWN: entry('error', 'use-waypoint names a Gateway that does not exist; traffic is refused'),
  WAYPOINT_DENIED: entry('error', 'the Gateway does not admit this namespace (allowedRoutes); traffic is refused'),
  WAYPOINT_TRAFFIC_TYPE: entry('warning', 'the Gateway is not for this kind of traffic (waypoint-for); it is not used'),
  SERVICE_ENTRY_UNBINDABLE: entry(
    'error',
    'a ServiceEntry of resolution NONE names a waypoint, which cannot know where to send; traffic is refused',
  ),
  BACKEND_TLS_INVALID: entry(
    'error',
    'a BackendTLSPolicy refers to what is not there; requests to its targets are answered with 503',
  ),
  BACKEND_POLICY_UNKNOWN_TARGET: entry(
    'warning',
    'a BackendTLSPolicy or XBackendTrafficPolicy names a target or a port of it that does not exist',
  ),
  BACKEND_POLICY_SHADOWED: entry('warning', 'an older BackendTLSPolicy is for the same Service and port'),
  WAYPOINT_AMBIGUOUS: entry('warning', 'endpoints of one service have several waypoints; the first is used'),
  POLICY_RULE_INVALID: entry(
    'error',
    'part of a policy cannot be decided; an ALLOW rule is dropped, a DENY rule widened',
  ),
  POLICY_UNSUPPORTED: entry(
    'error',
    'a CUSTOM policy without targetRefs, where nobody can ask; what its rules match is denied',
  ),
  POLICY_PROVIDER: entry(
    'error',
    'a CUSTOM policy whose provider is missing or unusable; what its rules match is denied',
  ),
  POLICY_L7_AT_ZTUNNEL: entry(
    'warning',
    'L7 fields where ztunnel enforces: ALLOW rules are dropped, DENY rules widened',
  ),
  POLICY_UNKNOWN_TARGET: entry('warning', 'a targetRef names an object that does not exist'),
  POLICY_TARGET_WITHOUT_WAYPOINT: entry(
    'error',
    'a targetRef names a Service without a waypoint: nothing enforces the policy',
  ),
  MESH_CONFIG_INVALID: entry(
    'error',
    'part of the mesh configuration cannot be read; a provider that is unusable makes the policies that name it deny',
  ),
  MESH_CONFIG_IGNORED: entry('info', 'parts of the mesh configuration without effect on waypoints'),
  MESH_CONFIG_SHADOWED: entry('warning', 'another mesh configuration goes first; this one is not used'),
  PEER_AUTHENTICATION_SHADOWED: entry('warning', 'an older PeerAuthentication of the same scope is used instead'),
  AUTHENTICATION_RULE_INVALID: entry(
    'error',
    'a rule for tokens cannot be read; every request to the targets is refused with 401',
  ),
  AUTHENTICATION_NOT_ENFORCED: entry(
    'error',
    'a RequestAuthentication without targetRefs: no token is verified, no request has a principal by it',
  ),
  EXTENSION_INVALID: entry(
    'error',
    'part of an Extension cannot be followed; what reaches its targets meets its failure mode',
  ),
  EXTENSION_WITHOUT_PLACE: entry(
    'error',
    'a waypoint has more Extensions than places, and this one is beyond the part of its namespace: what reaches its targets meets its failure mode',
  ),
  EXTENSION_WITHOUT_TARGET: entry('error', 'an Extension without targetRefs: nothing is asked of it'),
  PROTECTION_WITHOUT_TARGET: entry('error', 'a TrafficProtection without targetRefs: nothing is limited by it'),
  PROTECTION_INCOMPLETE: entry(
    'error',
    'parts of a TrafficProtection cannot be read and limit nothing; all others are in force',
  ),
  PROTECTION_UNKNOWN_SERVICE: entry(
    'error',
    'a rate limit service does not exist; the limit acts as if it did not answer (`failOpen`)',
  ),
  TELEMETRY_IGNORED: entry('info', 'a part of a Telemetry concerns no waypoint, or is not followed'),
  TELEMETRY_SHADOWED: entry('warning', 'an older Telemetry of the same scope is used instead'),
  TELEMETRY_PROVIDER: entry(
    'error',
    'a provider of logs or traces cannot be used, or not in full: nothing is handed to it, or in the default format',
  ),
  ROUTE_PARENT_IGNORED: entry('info', 'a parentRef is not a Service and is not used in the mesh'),
  ROUTE_UNKNOWN_PARENT: entry('warning', 'a parentRef or host names a Service or port that does not exist'),
  ROUTE_NAMESPACE: entry(
    'warning',
    'the VirtualService is neither in the namespace of the Service nor of its waypoint, or not exported to it',
  ),
  ROUTE_WITHOUT_WAYPOINT: entry('warning', 'the route belongs to a Service without a waypoint: nothing applies it'),
  ROUTE_PROTOCOL: entry('warning', 'the route is for a port that speaks another protocol; it has no effect there'),
  ROUTE_REFERENCE_DENIED: entry(
    'error',
    'a consumer route names a Service of a third namespace, or changes requests to its parent, without a ReferenceGrant; its share is answered with 500',
  ),
  ROUTE_DELEGATE: entry('error', 'a delegate of a VirtualService is missing or cannot be used; its rules do not apply'),
  ROUTE_UNKNOWN_BACKEND: entry(
    'error',
    'a backend does not exist; its share is answered with 500, of a VirtualService with 503',
  ),
  ROUTE_UNKNOWN_MIRROR: entry('error', 'a mirror does not exist; nothing is mirrored to it'),
  ROUTE_UNKNOWN_SUBSET: entry(
    'error',
    'no DestinationRule has the subset; the share of the backend is answered with 503',
  ),
  ROUTE_FIELD_UNSUPPORTED: entry('warning', 'a field is not supported and has no effect'),
  ROUTE_RULE_INVALID: entry('error', 'a rule cannot be followed; what it matches is answered with 500'),
  ROUTE_MATCH_INVALID: entry('error', 'a match cannot be decided and never matches'),
  ROUTE_SHADOWED: entry('warning', 'a route that goes first is used for the same Service and port instead'),
  DESTINATION_SETTING_INVALID: entry(
    'error',
    'a setting of a DestinationRule cannot be read and is left out; where it is `tls`, connections are refused',
  ),
  DESTINATION_FIELD_UNSUPPORTED: entry('warning', 'a field of a DestinationRule is not supported and has no effect'),
  DESTINATION_TUNNEL: entry('error', '`tunnel` is not supported; TCP connections to the host are refused'),
  DESTINATION_FAILOVER: entry('warning', 'a locality failover without outlierDetection has no effect, as in Istio'),
  DESTINATION_UNKNOWN_HOST: entry('warning', 'the host of a DestinationRule is the name of no service'),
  DESTINATION_UNUSED: entry(
    'warning',
    'the DestinationRule is neither in the namespace of the waypoint, of the service nor the root namespace, or gives way to one that is nearer',
  ),
  DESTINATION_CONFLICT: entry('warning', 'two DestinationRules of one host say the same thing; the older is used'),
} as const satisfies Readonly<Record<string, CodeEntry>>;

export type CompileCode = keyof typeof compileCodes;
