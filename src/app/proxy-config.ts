/**
 * Istio's ProxyConfig: the document in PROXY_CONFIG over `defaultConfig` of the mesh configuration file (ztunnel.md §2.1).
 * It stands in for environment variables that are not set; keys that ztunnel does not use are passed over, as it does.
 */
import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { formatDiagnostic, hasErrors } from '../base/diagnostics.ts';
import { errorCode, errorText } from '../base/errors.ts';
import type { Environment } from '../config/environment.ts';
import { parseYaml } from '../config/yaml.ts';

const meshConfigPath = './etc/istio/config/mesh';

const proxyConfig = z.object({
  discoveryAddress: z.string().optional(),
  proxyAdminPort: z.number().int().min(0).max(65_535).optional(),
  statsPort: z.number().int().min(0).max(65_535).optional(),
  // One thread does everything: read so that a wrong value is told, without effect.
  concurrency: z.number().int().min(0).nullish(),
  proxyMetadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String)).nullish(),
});

const meshConfig = z.object({ defaultConfig: proxyConfig.nullish() });

export interface ProxyConfigOutcome {
  /** The environment, with what the configuration says where a variable is absent. */
  readonly environment: Environment;
  /** Of `proxyMetadata`, what is not the form of an ISTIO_META_ variable. */
  readonly metadata: Readonly<Record<string, string>>;
  /** One sentence each. */
  readonly problems: readonly string[];
}

/** `meshText`: what the mesh configuration file holds; undefined when there is none. */
export function applyProxyConfig(environment: Environment, meshText: string | undefined): ProxyConfigOutcome {
  const problems: string[] = [];
  const mesh = read(meshText, meshConfigPath, meshConfig, problems)?.defaultConfig ?? {};
  const own = read(environment.PROXY_CONFIG, 'PROXY_CONFIG', proxyConfig, problems) ?? {};
  const merged = { ...mesh, ...own };
  const metadata = { ...mesh.proxyMetadata, ...own.proxyMetadata };
  const stands: Record<string, string | undefined> = {
    XDS_ADDRESS: merged.discoveryAddress,
    AMBIT_ADMIN_PORT: merged.proxyAdminPort?.toString(),
    AMBIT_METRICS_PORT: merged.statsPort?.toString(),
  };
  const rest: Record<string, string> = {};
  for (const [name, value] of Object.entries(metadata)) {
    if (isMetaVariable(name)) stands[name] = value;
    else rest[name] = value;
  }
  // Empty is not set, but for an empty XDS_ADDRESS, which means that there is none.
  const given = Object.entries(environment).filter(
    ([name, value]) => value !== undefined && (value !== '' || name === 'XDS_ADDRESS' || stands[name] === undefined),
  );
  return { environment: { ...definedOf(stands), ...Object.fromEntries(given) }, metadata: rest, problems };
}

/** Undefined when there is no such file; what else is wrong with it is a problem. */
export function readMeshConfigFile(path = meshConfigPath): { readonly text?: string; readonly problem?: string } {
  try {
    return { text: readFileSync(path, 'utf8') };
  } catch (error) {
    const absent = errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR';
    return absent ? {} : { problem: `${path}: ${errorText(error)}` };
  }
}

function isMetaVariable(name: string): boolean {
  return name.startsWith('ISTIO_META_') || name.startsWith('ISTIO_METAJSON_');
}

function definedOf(values: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function read<Schema extends z.ZodType>(
  text: string | undefined,
  source: string,
  schema: Schema,
  problems: string[],
): z.output<Schema> | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  const { documents, diagnostics } = parseYaml(text, source);
  if (hasErrors(diagnostics) || documents.length > 1) {
    problems.push(...diagnostics.map(formatDiagnostic));
    if (documents.length > 1) problems.push(`${source}: more than one document`);
    return undefined;
  }
  const parsed = schema.safeParse(documents[0]?.value ?? {});
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) problems.push(`${source}: ${issue.path.join('.')}: ${issue.message}`);
  return undefined;
}
