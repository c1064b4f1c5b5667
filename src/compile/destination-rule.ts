/**
 * DestinationRule: what is said about connections to a host. Parsed to everything that does not depend on other objects;
 * `destinations.ts` finds the services it is for and merges several of them.
 *
 * I1: a setting that cannot be read is left out and reported; only `tls` is not left out, for then what was to be encrypted
 *     would go in clear: connections are refused instead.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import {
  type ClientTlsPolicy,
  type DestinationPolicy,
  emptyDestinationPolicy,
  type HealthCheckPolicy,
} from '../route/destination.ts';
import {
  connectionPoolSchema,
  outlierSchema,
  proxyProtocolSchema,
  readSetting,
  retryBudgetSchema,
  type SettingOutcome,
  tlsSchema,
  tunnelSchema,
} from './destination-settings.ts';
import { readHealthCheck } from './health-check.ts';
import { loadBalancerSchema } from './load-balancer.ts';
import { type ConfigObject, diagnose, type Parsed, type Path, parseContent, perObject } from './object.ts';
import { labelsSchema, listOf, portSchema } from './values.ts';

/** As written for one level: of all ports, and of those named. */
export interface TrafficPolicySpec {
  readonly general: DestinationPolicy;
  /** Nothing of `general` holds for these. */
  readonly ports: ReadonlyMap<number, DestinationPolicy>;
}

export interface SubsetSpec {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly policy: TrafficPolicySpec | undefined;
  readonly path: Path;
}

export interface DestinationRuleSpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly name: string;
  /** As written. */
  readonly host: string;
  /** Undefined: every namespace. `.` is written out. */
  readonly exportTo: ReadonlySet<string> | undefined;
  readonly policy: TrafficPolicySpec | undefined;
  readonly subsets: readonly SubsetSpec[];
  readonly healthCheck: HealthCheckPolicy | undefined;
}

const policySchema = z.looseObject({
  portLevelSettings: listOf(z.looseObject({ port: z.object({ number: portSchema }) })),
});

const schema = z.object({
  spec: z.looseObject({
    host: z.string().regex(/^(?:\*|(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251})?)$/, 'not the name of a host'),
    exportTo: listOf(z.string()),
    subsets: listOf(z.looseObject({ name: z.string().min(1), labels: labelsSchema.nullish() })),
    trafficPolicy: z.unknown().optional(),
    workloadSelector: z.unknown().optional(),
  }),
});

const ruleKeys = new Set(['host', 'exportTo', 'subsets', 'trafficPolicy', 'workloadSelector']);
const portKeys = new Set(['loadBalancer', 'connectionPool', 'outlierDetection', 'tls']);
const policyKeys = new Set([...portKeys, 'portLevelSettings', 'tunnel', 'proxyProtocol', 'retryBudget']);

export const parseDestinationRule = perObject((object: ConfigObject): Parsed<DestinationRuleSpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { spec } = parsed.value;
  const { namespace, name } = object.metadata;
  const diagnostics: Diagnostic[] = [];
  if (spec.workloadSelector != null) {
    const message = 'a rule for some clients only (workloadSelector) is not used';
    diagnostics.push(diagnose(object, 'DESTINATION_FIELD_UNSUPPORTED', message, ['spec', 'workloadSelector']));
    return { value: undefined, diagnostics };
  }
  reportUnknown(object, spec, ruleKeys, ['spec'], diagnostics);
  const read = (content: unknown, path: Path) => readTrafficPolicy(object, content, path, diagnostics);
  return {
    value: {
      object,
      namespace,
      name,
      host: spec.host.toLowerCase(),
      exportTo: exportedTo(spec.exportTo, namespace),
      policy: read(spec.trafficPolicy, ['spec', 'trafficPolicy']),
      subsets: spec.subsets.map((subset, i) => {
        const path = ['spec', 'subsets', i];
        const policy = read(subset.trafficPolicy, [...path, 'trafficPolicy']);
        return { name: subset.name, labels: subset.labels ?? {}, policy, path };
      }),
      healthCheck: readHealthCheck(object, diagnostics),
    },
    diagnostics,
  };
});

function exportedTo(names: readonly string[], namespace: string): ReadonlySet<string> | undefined {
  if (names.length === 0 || names.includes('*')) return undefined;
  return new Set(names.map((name) => (name === '.' ? namespace : name)));
}

function readTrafficPolicy(
  object: ConfigObject,
  content: unknown,
  path: Path,
  diagnostics: Diagnostic[],
): TrafficPolicySpec | undefined {
  const outer = readSetting(object, policySchema, content, path, diagnostics);
  // Without knowing what was asked nothing is sent.
  if (outer.kind === 'invalid') {
    const tls: ClientTlsPolicy = { mode: 'invalid', reason: outer.reason };
    return { general: { ...emptyDestinationPolicy, tls }, ports: new Map() };
  }
  if (outer.kind === 'absent') return undefined;
  reportUnknown(object, outer.value, policyKeys, path, diagnostics);
  const general = readSections(object, outer.value, path, diagnostics);
  if (general.tunnel !== undefined) {
    const message = 'connections through another proxy are not supported; TCP connections are refused';
    diagnostics.push(diagnose(object, 'DESTINATION_TUNNEL', message, [...path, 'tunnel']));
  }
  reportIdleFailover(object, general, [...path, 'loadBalancer'], diagnostics);
  const ports = new Map<number, DestinationPolicy>();
  for (const [i, settings] of outer.value.portLevelSettings.entries()) {
    const at = [...path, 'portLevelSettings', i];
    const { port, ...sections } = settings;
    reportUnknown(object, sections, portKeys, at, diagnostics);
    const own = Object.fromEntries(Object.entries(sections).filter(([key]) => portKeys.has(key)));
    // The first that names the port, as in istiod.
    if (!ports.has(port.number)) ports.set(port.number, readSections(object, own, at, diagnostics));
  }
  return { general, ports };
}

function readSections(
  object: ConfigObject,
  content: Readonly<Record<string, unknown>>,
  path: Path,
  diagnostics: Diagnostic[],
): DestinationPolicy {
  const read = <T extends z.ZodType>(key: string, section: T): SettingOutcome<z.output<T>> =>
    readSetting(object, section, content[key], [...path, key], diagnostics);
  const tls = read('tls', tlsSchema);
  const tunnel = read('tunnel', tunnelSchema);
  return {
    loadBalancer: valueIn(read('loadBalancer', loadBalancerSchema)),
    connectionPool: valueIn(read('connectionPool', connectionPoolSchema)),
    outlierDetection: valueIn(read('outlierDetection', outlierSchema)),
    tls: tls.kind === 'invalid' ? { mode: 'invalid', reason: tls.reason } : valueIn(tls),
    proxyProtocol: valueIn(read('proxyProtocol', proxyProtocolSchema)),
    tunnel: tunnel.kind === 'invalid' ? { protocol: 'invalid' } : valueIn(tunnel),
    retryBudget: valueIn(read('retryBudget', retryBudgetSchema)),
  };
}

/** As in Istio: without outlier detection no endpoint is ever thought unhealthy, and nothing fails over. */
function reportIdleFailover(
  object: ConfigObject,
  { loadBalancer, outlierDetection }: DestinationPolicy,
  path: Path,
  diagnostics: Diagnostic[],
): void {
  const locality = loadBalancer?.locality;
  if (locality === undefined || outlierDetection !== undefined) return;
  if (locality.failover.length + locality.failoverPriority.length === 0) return;
  const message = 'failover has no effect without outlierDetection beside it';
  diagnostics.push(diagnose(object, 'DESTINATION_FAILOVER', message, [...path, 'localityLbSetting']));
}

function valueIn<T>(outcome: SettingOutcome<T>): T | undefined {
  return outcome.kind === 'read' ? outcome.value : undefined;
}

function reportUnknown(
  object: ConfigObject,
  content: Readonly<Record<string, unknown>>,
  known: ReadonlySet<string>,
  path: Path,
  diagnostics: Diagnostic[],
): void {
  for (const key of Object.keys(content)) {
    if (known.has(key)) continue;
    diagnostics.push(diagnose(object, 'DESTINATION_FIELD_UNSUPPORTED', `${key} has no effect`, [...path, key]));
  }
}
