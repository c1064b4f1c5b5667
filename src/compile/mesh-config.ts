/**
 * Istio's mesh configuration, in the forms in which users have it: the ConfigMap `istio` of the root namespace (key
 * `mesh`), an IstioOperator (`spec.meshConfig`), or a file of its own (AMBIT_MESH_CONFIG). The file goes first, then the
 * ConfigMap.
 *
 * I1: what is not followed is named. I2: a part that cannot be read takes no other with it, and opens nothing: providers
 * that are unusable make their policies deny.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import { parseYaml } from '../config/yaml.ts';
import { defaultMeshConfig, type ExtensionProvider, type MeshConfig } from '../route/mesh-config.ts';
import { readProvider } from './extension-provider.ts';
import { type ConfigObject, diagnose, objectGroup, type Parsed, type Path, perObject } from './object.ts';
import { message, unknownFields } from './proto-json.ts';
import { listOf } from './values.ts';
import { retriesSchema, retryOf } from './virtual-rule.ts';

export interface MeshConfigSpec {
  readonly object: ConfigObject;
  readonly config: MeshConfig;
}

/** What `AMBIT_MESH_CONFIG` is read as: an object of this kind, whose content is under `spec`. */
export const meshConfigKind = { apiVersion: 'mesh.istio.io/v1alpha1', kind: 'MeshConfig' } as const;

const mostBytes = 1 << 20;
const mostProviders = 1_000;

const providerNames = z.array(z.string().min(1)).nullish();
const trustDomain = z.string().regex(/^[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?$/, 'is no trust domain');
const normalizations = {
  DEFAULT: 'base',
  NONE: 'none',
  BASE: 'base',
  MERGE_SLASHES: 'merge-slashes',
  DECODE_AND_MERGE_SLASHES: 'decode-and-merge-slashes',
} as const;

/** Each by itself: one that is wrong leaves the others alone. */
const fields = {
  defaultProviders: message({ tracing: providerNames, metrics: providerNames, accessLogging: providerNames }),
  pathNormalization: message({ normalization: z.enum(Object.keys(normalizations)).default('DEFAULT') }).transform(
    ({ normalization }) => normalizations[normalization as keyof typeof normalizations],
  ),
  defaultHttpRetryPolicy: retriesSchema.transform((retries) => retryOf(retries)),
  trustDomainAliases: listOf(trustDomain),
  accessLogFile: z.string(),
  accessLogFormat: z.string(),
  accessLogEncoding: z.enum(['TEXT', 'JSON']).transform((word) => (word === 'JSON' ? 'json' : 'text')),
  enableTracing: z.boolean(),
  defaultConfig: message({
    tracing: message({ sampling: z.number().min(0).max(100).nullish() }).nullish(),
  }),
} as const;

type Fields = { readonly [Name in keyof typeof fields]?: z.output<(typeof fields)[Name]> };

/** Undefined without diagnostics: a ConfigMap of something else. */
export const parseMeshConfig = perObject((object: ConfigObject): Parsed<MeshConfigSpec> => {
  const source = contentOf(object);
  if (source === undefined) return { value: undefined, diagnostics: [] };
  const diagnostics: Diagnostic[] = [...source.diagnostics];
  const report = (code: 'MESH_CONFIG_INVALID' | 'MESH_CONFIG_IGNORED', text: string, path: Path) =>
    diagnostics.push(source.diagnose(code, text, path));
  if (source.content === undefined) return { value: undefined, diagnostics };
  const outer = message({ extensionProviders: listOf(z.unknown()) }).safeParse(source.content);
  if (!outer.success) {
    const problem = 'the mesh configuration is not a map, or extensionProviders is not a list';
    return { value: undefined, diagnostics: [...diagnostics, source.diagnose('MESH_CONFIG_INVALID', problem, [])] };
  }
  const { extensionProviders, ...content } = outer.data;
  const read: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(fields)) {
    if (content[name] == null) continue;
    const parsed = schema.safeParse(content[name]);
    if (parsed.success) read[name] = parsed.data;
    for (const { path, message: problem } of parsed.error?.issues ?? []) {
      const at = [name, ...path.filter((step) => typeof step !== 'symbol')];
      report('MESH_CONFIG_INVALID', `${at.join('.')}: ${problem}`, at);
    }
  }
  const unknown = unknownFields(content, Object.keys(fields));
  if (unknown.length > 0) report('MESH_CONFIG_IGNORED', `not used by waypoints: ${unknown.join(', ')}`, []);
  const providers = new Map<string, ExtensionProvider>();
  for (const [i, value] of extensionProviders.slice(0, mostProviders).entries()) {
    const at = ['extensionProviders', i];
    const outcome = readProvider(value);
    if (typeof outcome === 'string') {
      report('MESH_CONFIG_INVALID', outcome, at);
      continue;
    }
    const { provider, ignored } = outcome;
    if (provider.kind === 'unusable') report('MESH_CONFIG_INVALID', `${provider.name}: ${provider.reason}`, at);
    if (ignored.length > 0) report('MESH_CONFIG_IGNORED', `${provider.name}: not followed: ${ignored.join(', ')}`, at);
    // As at Istio, whoever names one of two is not to be served by either.
    const twice = providers.has(provider.name);
    if (twice) report('MESH_CONFIG_INVALID', `${provider.name}: there are two of that name; neither is used`, at);
    const { name } = provider;
    providers.set(name, twice ? { kind: 'unusable', name, reason: 'there are two of that name' } : provider);
  }
  if (extensionProviders.length > mostProviders) {
    report('MESH_CONFIG_INVALID', `more than ${mostProviders} providers; the rest is not read`, ['extensionProviders']);
  }
  return { value: { object, config: configOf(read, providers) }, diagnostics };
});

/** The one that counts; others are named. */
export function buildMeshConfig(
  specs: readonly MeshConfigSpec[],
  rootNamespace: string,
  diagnostics: Diagnostic[],
): MeshConfig {
  const rank = ({ object }: MeshConfigSpec) =>
    order.indexOf(object.kind) + (object.metadata.name === 'istio' ? 0 : 0.5);
  const [used, ...others] = specs
    .filter(({ object }) => object.kind !== 'ConfigMap' || object.metadata.namespace === rootNamespace)
    .sort((a, b) => rank(a) - rank(b));
  for (const { object } of others) {
    diagnostics.push(diagnose(object, 'MESH_CONFIG_SHADOWED', 'another mesh configuration goes first'));
  }
  return used?.config ?? defaultMeshConfig;
}

const order = [meshConfigKind.kind, 'ConfigMap', 'IstioOperator'] as const as readonly string[];

function configOf(read: Fields, providers: MeshConfig['providers']): MeshConfig {
  const { tracing, metrics, accessLogging } = read.defaultProviders ?? {};
  return {
    providers,
    defaultProviders: {
      tracing: tracing ?? undefined,
      metrics: metrics ?? undefined,
      accessLogging: accessLogging ?? undefined,
    },
    pathNormalization: read.pathNormalization ?? defaultMeshConfig.pathNormalization,
    retry: read.defaultHttpRetryPolicy,
    trustDomainAliases: read.trustDomainAliases ?? [],
    accessLog: {
      file: read.accessLogFile,
      format: read.accessLogFormat || undefined,
      encoding: read.accessLogEncoding ?? 'text',
    },
    enableTracing: read.enableTracing,
    tracingSamplingPercent: read.defaultConfig?.tracing?.sampling ?? undefined,
  };
}

interface Source {
  /** Undefined: it cannot be read, and the diagnostics say why. */
  readonly content: unknown;
  readonly diagnostics: readonly Diagnostic[];
  readonly diagnose: (code: 'MESH_CONFIG_INVALID' | 'MESH_CONFIG_IGNORED', message: string, path: Path) => Diagnostic;
}

function contentOf(object: ConfigObject): Source | undefined {
  const within =
    (around: Path): Source['diagnose'] =>
    (code, text, path) =>
      diagnose(object, code, text, [...around, ...path]);
  const spec = object.content.spec as Readonly<Record<string, unknown>> | null | undefined;
  if (object.kind === meshConfigKind.kind) {
    // Values of a Helm chart have it under a key of its own.
    const nested = spec?.meshConfig;
    return nested == null
      ? { content: spec ?? {}, diagnostics: [], diagnose: within(['spec']) }
      : { content: nested, diagnostics: [], diagnose: within(['spec', 'meshConfig']) };
  }
  if (object.kind === 'IstioOperator') {
    const nested = spec?.meshConfig;
    return nested == null ? undefined : { content: nested, diagnostics: [], diagnose: within(['spec', 'meshConfig']) };
  }
  const { name } = object.metadata;
  if (objectGroup(object) !== '' || (name !== 'istio' && !name.startsWith('istio-'))) return undefined;
  const data = object.content.data as Readonly<Record<string, unknown>> | null | undefined;
  return typeof data?.mesh === 'string' ? embedded(object, data.mesh) : undefined;
}

/** YAML within YAML: places are those of the text's start, with the line in it where one is known. */
function embedded(object: ConfigObject, text: string): Source {
  const around = ['data', 'mesh'];
  if (text.length > mostBytes) {
    const problem = diagnose(object, 'MESH_CONFIG_INVALID', `longer than ${mostBytes} bytes`, around);
    return { content: undefined, diagnostics: [problem], diagnose: () => problem };
  }
  const { documents, diagnostics } = parseYaml(text, 'mesh');
  const [document] = documents;
  const place = (line: number) => (line > 1 ? ` (line ${line} of data.mesh)` : '');
  return {
    content: diagnostics.length > 0 ? undefined : (document?.value ?? {}),
    diagnostics: diagnostics.map(({ message: problem, position }) =>
      diagnose(object, 'MESH_CONFIG_INVALID', `${problem}${place(position?.line ?? 1)}`, around),
    ),
    diagnose: (code, problem, path) =>
      diagnose(object, code, `${problem}${place(document?.at(path).line ?? 1)}`, around),
  };
}
