/** Service: a VIP, ports and which pods are behind them. ExternalName Services are not part of the mesh. */

import * as z from 'zod';
import { canonicalIp } from '../base/address.ts';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { LoadBalancing, Service } from '../mesh/model.ts';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import type { ServiceEntrySpec } from './service-entry.ts';
import { appProtocolOf, type ServicePortSpec } from './service-port.ts';
import { labelsSchema, listOf, portSchema } from './values.ts';

export interface ServiceSpec {
  readonly object: ConfigObject;
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly vips: readonly string[];
  /** Undefined or empty: endpoints come from EndpointSlices alone. */
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly ports: readonly ServicePortSpec[];
  readonly ipFamilies: Service['ipFamilies'];
  /** Undefined: as the namespace's annotation says. */
  readonly loadBalancing: LoadBalancing | undefined;
  readonly allowUnhealthy: boolean;
  /** One host of a ServiceEntry, whose name is then that of the entry; undefined: a Service. */
  readonly entry?: { readonly spec: ServiceEntrySpec; readonly host: string } | undefined;
}

const schema = z.object({
  spec: z
    .object({
      type: z.string().default('ClusterIP'),
      clusterIP: z.string().nullish(),
      clusterIPs: listOf(z.string()),
      selector: labelsSchema.nullish(),
      publishNotReadyAddresses: z.boolean().default(false),
      internalTrafficPolicy: z.string().nullish(),
      trafficDistribution: z.string().nullish(),
      ipFamilies: listOf(z.enum(['IPv4', 'IPv6'])),
      ports: listOf(
        z.object({
          name: z.string().default(''),
          port: portSchema,
          protocol: z.string().default('TCP'),
          targetPort: z.union([portSchema, z.string().min(1)]).nullish(),
          appProtocol: z.string().nullish(),
        }),
      ),
    })
    .prefault({}),
});

export const parseService = perObject((object: ConfigObject): Parsed<ServiceSpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { spec } = parsed.value;
  if (spec.type === 'ExternalName') return { value: undefined, diagnostics: [] };
  const { name, namespace, labels, annotations } = object.metadata;
  const diagnostics: Diagnostic[] = [];
  const texts = spec.clusterIPs.length > 0 ? spec.clusterIPs : [spec.clusterIP ?? ''];
  const vips = texts
    .filter((text) => text !== '' && text !== 'None')
    .flatMap((text) => {
      const ip = canonicalIp(text);
      if (ip !== undefined) return [ip];
      diagnostics.push(diagnose(object, 'OBJECT_INVALID', `not an IP address: ${text}`, ['spec', 'clusterIP']));
      return [];
    });
  if (diagnostics.length > 0) return { value: undefined, diagnostics };
  const ports: ServicePortSpec[] = [];
  for (const [i, port] of spec.ports.entries()) {
    if (port.protocol !== 'TCP') {
      const message = `port ${port.port} is ${port.protocol}`;
      diagnostics.push(diagnose(object, 'SERVICE_PORT_NOT_TCP', message, ['spec', 'ports', i]));
      continue;
    }
    const { name: portName, targetPort } = port;
    const numeric = typeof targetPort === 'string' && /^[0-9]+$/.test(targetPort) ? Number(targetPort) : targetPort;
    ports.push({
      name: portName,
      port: port.port,
      targetPort: numeric ?? port.port,
      appProtocol: appProtocolOf(port.appProtocol ?? undefined, portName),
    });
  }
  const hasSelector = spec.selector != null && Object.keys(spec.selector).length > 0;
  const distribution = spec.trafficDistribution ?? annotations[trafficDistributionAnnotation];
  return {
    value: {
      object,
      name,
      namespace,
      labels,
      vips,
      selector: hasSelector ? (spec.selector ?? undefined) : undefined,
      ports,
      ipFamilies: ipFamiliesOf(spec.ipFamilies),
      loadBalancing:
        spec.internalTrafficPolicy === 'Local'
          ? { mode: 'strict', preferences: ['node'], allowUnhealthy: false }
          : distribution === undefined
            ? undefined
            : distributionBalancing(distribution),
      allowUnhealthy: spec.publishNotReadyAddresses,
    },
    diagnostics,
  };
});

export const trafficDistributionAnnotation = 'networking.istio.io/traffic-distribution';

/** Locality preferences of Kubernetes' traffic distribution, as Istio reads it. Unknown words prefer nothing. */
export function distributionBalancing(word: string | undefined): LoadBalancing {
  switch (word) {
    case 'PreferClose':
    case 'PreferSameZone':
      return { mode: 'failover', preferences: ['network', 'region', 'zone'], allowUnhealthy: false };
    case 'PreferSameNode':
      return {
        mode: 'failover',
        preferences: ['network', 'region', 'zone', 'subzone', 'node'],
        allowUnhealthy: false,
      };
    default:
      return { mode: 'any', preferences: [], allowUnhealthy: false };
  }
}

function ipFamiliesOf(families: readonly ('IPv4' | 'IPv6')[]): Service['ipFamilies'] {
  if (families.length > 1) return 'dual';
  return families[0] === 'IPv4' ? 'ipv4' : families[0] === 'IPv6' ? 'ipv6' : 'automatic';
}
