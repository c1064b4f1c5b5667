/**
 * Tracing from OpenTelemetry's own variables (https://opentelemetry.io/docs/specs/otel/configuration/). Off unless an
 * endpoint is named; what stands behind it is loaded only then.
 */

import { choice, flag, optionalText, text } from '../config/environment.ts';
import { type SamplerName, samplerNames } from '../telemetry/tracing/sampler.ts';
import type { Attributes } from '../telemetry/tracing/span.ts';
import type { TracingOptions } from '../telemetry/tracing/tracer.ts';

export const tracingShape = {
  OTEL_SDK_DISABLED: flag(false),
  OTEL_EXPORTER_OTLP_ENDPOINT: optionalText(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: optionalText(),
  OTEL_EXPORTER_OTLP_PROTOCOL: choice(['http/json'], 'http/json'),
  OTEL_EXPORTER_OTLP_HEADERS: text(''),
  OTEL_SERVICE_NAME: optionalText(),
  OTEL_RESOURCE_ATTRIBUTES: text(''),
  OTEL_TRACES_SAMPLER: choice(samplerNames, 'parentbased_always_on'),
  OTEL_TRACES_SAMPLER_ARG: text('1'),
};

interface TracingVariables {
  readonly OTEL_SDK_DISABLED: boolean;
  readonly OTEL_EXPORTER_OTLP_ENDPOINT?: string | undefined;
  readonly OTEL_EXPORTER_OTLP_TRACES_ENDPOINT?: string | undefined;
  readonly OTEL_EXPORTER_OTLP_HEADERS: string;
  readonly OTEL_SERVICE_NAME?: string | undefined;
  readonly OTEL_RESOURCE_ATTRIBUTES: string;
  readonly OTEL_TRACES_SAMPLER: SamplerName;
  readonly OTEL_TRACES_SAMPLER_ARG: string;
}

const timeoutMs = 10_000;

/** Undefined: nothing is traced. Adds to `problems` what cannot be followed. */
export function readTracing(
  variables: TracingVariables,
  program: { readonly name: string; readonly version: string },
  problems: string[],
): TracingOptions | undefined {
  const { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: traces, OTEL_EXPORTER_OTLP_ENDPOINT: base } = variables;
  const { OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: argument } = variables;
  if (variables.OTEL_SDK_DISABLED || (traces === undefined && base === undefined)) return undefined;
  const variable = traces === undefined ? 'OTEL_EXPORTER_OTLP_ENDPOINT' : 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
  // The general address is of all signals, whose paths are known; the one for traces is taken as it is.
  const given = traces ?? `${base?.replace(/\/+$/, '')}/v1/traces`;
  const endpoint = URL.parse(given);
  if (endpoint === null || !/^https?:$/.test(endpoint.protocol)) {
    problems.push(`${variable}=${JSON.stringify(traces ?? base)}: must be an http or https URL`);
  }
  const ratio = /^\d*\.?\d+$/.test(argument) ? Number(argument) : Number.NaN;
  if (sampler.endsWith('ratio') && !(ratio >= 0 && ratio <= 1)) {
    problems.push(`OTEL_TRACES_SAMPLER_ARG=${JSON.stringify(argument)}: must be a number from 0 to 1`);
  }
  const headers = readPairs('OTEL_EXPORTER_OTLP_HEADERS', variables.OTEL_EXPORTER_OTLP_HEADERS, problems);
  const resource = readPairs('OTEL_RESOURCE_ATTRIBUTES', variables.OTEL_RESOURCE_ATTRIBUTES, problems);
  if (endpoint === null || problems.length > 0) return undefined;
  const named: Attributes = [
    ['service.name', variables.OTEL_SERVICE_NAME ?? resource.get('service.name') ?? program.name],
    ['service.version', program.version],
    ...[...resource].filter(([key]) => key !== 'service.name'),
  ];
  return {
    endpoint,
    headers: Object.fromEntries(headers),
    timeoutMs,
    sampler,
    ratio,
    resource: named,
    version: program.version,
  };
}

/** `a=1,b=%20`: keys and percent-encoded values. Values may be secrets: a problem names only the key. */
function readPairs(variable: string, given: string, problems: string[]): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const part of given.split(',').map((each) => each.trim())) {
    if (part === '') continue;
    const [, key = '', value = ''] = /^([\w.-]{1,128})\s*=\s*([\x21-\x7e]*)$/.exec(part) ?? [];
    const decoded = decode(value);
    if (key === '' || decoded === undefined) {
      const name = part.split('=')[0]?.slice(0, 40) ?? '';
      problems.push(`${variable}: ${JSON.stringify(name)}: must be key=value, the value percent-encoded`);
    } else {
      pairs.set(key, decoded);
    }
  }
  return pairs;
}

function decode(value: string): string | undefined {
  try {
    const decoded = decodeURIComponent(value);
    return /^[\x20-\x7e]*$/.test(decoded) ? decoded : undefined;
  } catch {
    // A percent sign that begins no encoding.
    return undefined;
  }
}
