/**
 * Providers of the mesh configuration as what logs and traces are handed to, with their formats compiled. Two names stand for
 * something without being configured, as in Istio's own mesh configuration: `envoy` (Istio's line on standard output) and
 * `prometheus`; a third is ours: `ambit`, the proxy's own log, or the collector of its environment.
 */

import type { ExtensionProvider, LogFormat as LogFormatSpec, MeshConfig } from '../route/mesh-config.ts';
import { defaultJsonLabels, defaultTextFormat } from '../route/telemetry/default-format.ts';
import { jsonFormat, type LabelTree, labelReaders } from '../route/telemetry/json-format.ts';
import { type LogFormat, textFormat } from '../route/telemetry/log-format.ts';
import type { LogProvider, TraceProvider } from '../route/telemetry/rules.ts';

export const ownProvider = 'ambit';
export const meshFileProvider = 'envoy';

const defaultMaxTagLength = 256;
const defaultText = compiled(textFormat(defaultTextFormat));
const defaultJson = compiled(jsonFormat(defaultJsonLabels));

/** What is wrong with the provider of that name; `undefined` stands for the mesh configuration itself. */
export type ProviderProblem = (provider: string, problem: string) => void;

/** Undefined: nothing can be logged there, and `onProblem` has heard why. */
export function logProvider(name: string, config: MeshConfig, onProblem: ProviderProblem): LogProvider | undefined {
  const provider = config.providers.get(name);
  if (provider === undefined) {
    if (name === ownProvider) return { kind: 'own' };
    if (name === meshFileProvider) return meshFile(config, onProblem);
  }
  switch (provider?.kind) {
    case 'file-access-log':
      return { kind: 'file', name, path: provider.path, format: fileFormat(provider.format, name, onProblem) };
    case 'otel-access-log': {
      const { target, logName, format } = provider;
      const readers = labelReaders((format?.labels ?? {}) as LabelTree);
      if ('problem' in readers) onProblem(name, readers.problem);
      const text =
        format?.text === undefined ? defaultText : checked(textFormat(format.text), defaultText, name, onProblem);
      const attributes = 'problem' in readers ? [] : readers;
      return { kind: 'otlp', name, target, logName, body: (facts) => text.line(facts).trimEnd(), attributes };
    }
    default:
      onProblem(name, unusable(provider, 'logs'));
      return undefined;
  }
}

export function traceProvider(name: string, config: MeshConfig, onProblem: ProviderProblem): TraceProvider | undefined {
  const provider = config.providers.get(name);
  if (provider === undefined && name === ownProvider) return { kind: 'environment' };
  switch (provider?.kind) {
    case 'opentelemetry': {
      const { target, http, metadata } = provider;
      const maxTagLength = provider.maxTagLength ?? defaultMaxTagLength;
      return { kind: 'otlp', name, target, http, headers: http?.headers ?? metadata, maxTagLength };
    }
    case 'zipkin': {
      const { target, path, shortTraceIds } = provider;
      const maxTagLength = provider.maxTagLength ?? defaultMaxTagLength;
      return { kind: 'zipkin', name, target, path, shortTraceIds, maxTagLength };
    }
    default:
      onProblem(name, unusable(provider, 'traces'));
      return undefined;
  }
}

export function isPrometheus(name: string, config: MeshConfig): boolean {
  const provider = config.providers.get(name);
  return provider === undefined ? name === 'prometheus' : provider.kind === 'prometheus';
}

/** `accessLogFile` and what belongs to it. */
function meshFile({ accessLog }: MeshConfig, onProblem: ProviderProblem): LogProvider {
  const path = accessLog.file || '/dev/stdout';
  const { format, encoding } = accessLog;
  if (format === undefined) {
    return { kind: 'file', name: meshFileProvider, path, format: encoding === 'json' ? defaultJson : defaultText };
  }
  if (encoding === 'text') {
    const text = checked(textFormat(withLineEnd(format)), defaultText, meshFileProvider, onProblem);
    return { kind: 'file', name: meshFileProvider, path, format: text };
  }
  const labels = parsedLabels(format);
  if (labels === undefined) onProblem(meshFileProvider, 'accessLogFormat is no JSON object; the default is used');
  const json =
    labels === undefined ? defaultJson : checked(jsonFormat(labels), defaultJson, meshFileProvider, onProblem);
  return { kind: 'file', name: meshFileProvider, path, format: json };
}

function fileFormat(format: LogFormatSpec | undefined, name: string, onProblem: ProviderProblem): LogFormat {
  if (format?.labels !== undefined) {
    const labels = format.labels as LabelTree;
    return Object.keys(labels).length === 0 ? defaultJson : checked(jsonFormat(labels), defaultJson, name, onProblem);
  }
  if (format?.text === undefined) return defaultText;
  return checked(textFormat(withLineEnd(format.text)), defaultText, name, onProblem);
}

/** As istiod adds it. */
function withLineEnd(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

function parsedLabels(text: string): LabelTree | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as LabelTree) : undefined;
  } catch {
    // JSON.parse has no other way to say no.
    return undefined;
  }
}

function checked(
  format: LogFormat | { readonly problem: string },
  fallback: LogFormat,
  name: string,
  onProblem: ProviderProblem,
): LogFormat {
  if (!('problem' in format)) return format;
  onProblem(name, `${format.problem}; the default format is used`);
  return fallback;
}

function unusable(provider: ExtensionProvider | undefined, what: string): string {
  if (provider === undefined) return 'there is no such provider';
  return provider.kind === 'unusable' ? provider.reason : `a provider of kind ${provider.kind} takes no ${what} here`;
}

function compiled(format: LogFormat | { readonly problem: string }): LogFormat {
  if ('problem' in format) throw new Error(`a format of our own: ${format.problem}`);
  return format;
}
