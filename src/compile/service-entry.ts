/**
 * ServiceEntry: hosts that are not Services of the cluster, as ports, addresses and the way their endpoints are found. Each
 * host becomes a service of its own (`service-entry-hosts.ts`). Field meanings: Istio's reference of ServiceEntry.
 */
import * as z from 'zod';
import { canonicalIp, parseCidr } from '../base/address.ts';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { Locality } from '../mesh/model.ts';
import { type ConfigObject, diagnose, type Parsed, type Path, parseContent, perObject } from './object.ts';
import { appProtocolOf, type ServicePortSpec } from './service-port.ts';
import { labelsSchema, listOf, portSchema } from './values.ts';

export type EntryResolution = 'none' | 'static' | 'dns' | 'dns-round-robin' | 'dynamic-dns';

export interface EntryEndpointSpec {
  /** An address, or the name of one that is looked up. */
  readonly address: { readonly kind: 'ip' | 'name'; readonly value: string };
  /** Target ports by the name of the entry's port. */
  readonly ports: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly weight: number;
  readonly locality: Locality | undefined;
  readonly network: string | undefined;
  readonly serviceAccount: string | undefined;
}

export interface ServiceEntrySpec {
  readonly object: ConfigObject;
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Lower case; a leading `*.` stands for any beginning. */
  readonly hosts: readonly string[];
  /** What clients connect to; a range has its prefix. */
  readonly addresses: readonly string[];
  readonly ports: readonly ServicePortSpec[];
  readonly external: boolean;
  readonly resolution: EntryResolution;
  readonly endpoints: readonly EntryEndpointSpec[];
  /** Pods and WorkloadEntries of the namespace that are endpoints. */
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly visibility: 'public' | 'namespace';
  /** Of the endpoints' certificates. */
  readonly serverNames: readonly string[];
  /** Without an address of its own it gets one that nobody else has. */
  readonly allocates: boolean;
}

const hostPattern =
  /^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?$/;

export const endpointSchema = z.object({
  address: z.string().default(''),
  ports: z.record(z.string(), portSchema).nullish(),
  labels: labelsSchema.nullish(),
  weight: z.number().int().min(0).nullish(),
  locality: z.string().nullish(),
  network: z.string().nullish(),
  serviceAccount: z.string().nullish(),
});

const schema = z.object({
  spec: z.object({
    hosts: z.array(z.string().min(1)).min(1),
    addresses: listOf(z.string()),
    ports: listOf(
      z.object({
        number: portSchema,
        name: z.string().default(''),
        protocol: z.string().nullish(),
        targetPort: portSchema.nullish(),
      }),
    ),
    location: z.enum(['MESH_EXTERNAL', 'MESH_INTERNAL']).default('MESH_EXTERNAL'),
    resolution: z.enum(['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS']).default('NONE'),
    endpoints: listOf(endpointSchema),
    workloadSelector: z.object({ labels: labelsSchema.nullish() }).nullish(),
    exportTo: listOf(z.string()),
    subjectAltNames: listOf(z.string().min(1)),
  }),
  status: z.object({ addresses: listOf(z.object({ value: z.string() })) }).nullish(),
});

const resolutions = {
  NONE: 'none',
  STATIC: 'static',
  DNS: 'dns',
  DNS_ROUND_ROBIN: 'dns-round-robin',
  DYNAMIC_DNS: 'dynamic-dns',
} as const;

export const parseServiceEntry = perObject((object: ConfigObject): Parsed<ServiceEntrySpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { spec, status } = parsed.value;
  const { name, namespace, labels } = object.metadata;
  const diagnostics: Diagnostic[] = [];
  const invalid = (message: string, path: Path) =>
    void diagnostics.push(diagnose(object, 'OBJECT_INVALID', message, ['spec', ...path]));
  const resolution = resolutions[spec.resolution];
  const hosts = spec.hosts.map((host) => host.toLowerCase().replace(/\.$/, ''));
  for (const [i, host] of hosts.entries()) {
    if (!hostPattern.test(host)) invalid(`not a host name: ${host}`, ['hosts', i]);
    else if (host.startsWith('*') && resolution !== 'dynamic-dns' && resolution !== 'none' && endpointless(spec))
      invalid(`${host} cannot be looked up; resolution DYNAMIC_DNS serves wildcards`, ['hosts', i]);
  }
  if (resolution === 'dynamic-dns' && (!endpointless(spec) || spec.location !== 'MESH_EXTERNAL'))
    invalid('resolution DYNAMIC_DNS is for MESH_EXTERNAL hosts without endpoints', ['resolution']);
  const written = [
    ...spec.addresses,
    ...(spec.addresses.length > 0 ? [] : (status?.addresses ?? []).map(({ value }) => value)),
  ];
  const addresses = written.flatMap((text, i) => {
    const known = canonicalIp(text) ?? (parseCidr(text) === undefined ? undefined : text);
    if (known === undefined) invalid(`not an address: ${text}`, ['addresses', i]);
    return known ?? [];
  });
  const endpoints = spec.endpoints.flatMap((endpoint, i) => {
    const read = readEndpoint(endpoint);
    const path = ['endpoints', i, 'address'];
    if (read === undefined) invalid(`not an address or host name: ${endpoint.address}`, path);
    else if (read.address.kind === 'name' && resolution === 'static')
      invalid(`${endpoint.address} is a name; resolution STATIC wants addresses`, path);
    else return [read];
    return [];
  });
  if (diagnostics.length > 0) return { value: undefined, diagnostics };
  const selector = spec.workloadSelector?.labels ?? undefined;
  return {
    value: {
      object,
      name,
      namespace,
      labels,
      hosts,
      addresses,
      ports: spec.ports.map(({ number, name: portName, protocol, targetPort }) => ({
        name: portName,
        port: number,
        targetPort: targetPort ?? number,
        appProtocol: appProtocolOf(protocol ?? undefined, portName),
      })),
      external: spec.location === 'MESH_EXTERNAL',
      resolution,
      endpoints,
      selector: selector !== undefined && Object.keys(selector).length > 0 ? selector : undefined,
      visibility: spec.exportTo.length === 0 || spec.exportTo.includes('*') ? 'public' : 'namespace',
      serverNames: spec.subjectAltNames,
      allocates: resolution !== 'none' && labels['networking.istio.io/enable-autoallocate-ip'] !== 'false',
    },
    diagnostics,
  };
});

/** Undefined: its address is none. */
export function readEndpoint(endpoint: z.output<typeof endpointSchema>): EntryEndpointSpec | undefined {
  const ip = canonicalIp(endpoint.address);
  const name = endpoint.address.toLowerCase().replace(/\.$/, '');
  if (ip === undefined && (name === '' || name.startsWith('*') || !hostPattern.test(name))) return undefined;
  return {
    address: ip === undefined ? { kind: 'name', value: name } : { kind: 'ip', value: ip },
    ports: endpoint.ports ?? {},
    labels: endpoint.labels ?? {},
    weight: endpoint.weight ?? 1,
    locality: localityOf(endpoint.locality ?? undefined),
    network: endpoint.network ?? undefined,
    serviceAccount: endpoint.serviceAccount ?? undefined,
  };
}

function localityOf(text: string | undefined): Locality | undefined {
  if (text === undefined || text === '') return undefined;
  const [region = '', zone = '', subzone = ''] = text.split('/');
  return { region, zone, subzone };
}

function endpointless(spec: { readonly endpoints: readonly unknown[]; readonly workloadSelector?: unknown }): boolean {
  return spec.endpoints.length === 0 && spec.workloadSelector == null;
}
