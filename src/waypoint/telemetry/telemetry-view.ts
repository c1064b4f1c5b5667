/**
 * What is logged, measured and traced of whose traffic, as the objects together have it: for the gateway, and for services that
 * have more than it. Made per request of an operator and bounded.
 */
import { type AccessLogRule, type MetricOverride, rulesFor, type TelemetryRules } from '../../route/telemetry/rules.ts';
import type { WaypointServices } from '../context.ts';

export interface TelemetryView {
  /** Undefined: the gateway, and all services that are not listed. */
  readonly service?: string;
  readonly accessLogs: readonly string[];
  readonly metrics: readonly string[];
  readonly tracing: string;
}

export function telemetryViews(services: WaypointServices, limit: number): readonly TelemetryView[] {
  const { telemetry } = services.model();
  const gateway = services.own()?.key;
  const traced = services.telemetry.tracing !== undefined;
  const own = viewOf(rulesFor(telemetry, gateway, undefined), traced);
  const more = [...(telemetry?.services.get(gateway ?? '') ?? [])].slice(0, limit);
  return [own, ...more.map(([service, rules]) => ({ service, ...viewOf(rules, traced) }))];
}

/** As text. */
export function telemetryLines(views: readonly TelemetryView[]): readonly string[] {
  return views.flatMap(({ service, accessLogs, metrics, tracing }) => [
    service === undefined ? 'gateway' : `service ${service}`,
    ...(accessLogs.length === 0 ? ['  log nothing'] : accessLogs.map((log) => `  log ${log}`)),
    ...metrics.map((metric) => `  metric ${metric}`),
    `  trace ${tracing}`,
  ]);
}

function viewOf(rules: TelemetryRules | undefined, traced: boolean): Omit<TelemetryView, 'service'> {
  const { metrics, tracing } = rules ?? {};
  const interval = metrics?.reportingIntervalMs;
  return {
    accessLogs: rules?.accessLogs?.map(logText) ?? ['ambit'],
    metrics: [
      ...Array.from(metrics?.overrides ?? [], ([name, override]) => `${name} ${overrideText(override)}`),
      ...(interval === undefined ? [] : [`every ${interval} ms while it lasts`]),
    ],
    tracing: tracing === undefined ? (traced ? 'ambit, as its environment samples' : 'nothing') : tracingText(tracing),
  };
}

function logText({ provider, filter }: AccessLogRule): string {
  const where =
    provider.kind === 'own' ? 'ambit' : `${provider.name} ${provider.kind === 'file' ? provider.path : 'otlp'}`;
  return filter === undefined ? where : `${where} when ${filter.source}`;
}

function overrideText({ disabled, remove, set }: MetricOverride): string {
  if (disabled) return 'off';
  return [
    ...remove.map((label) => `without ${label}`),
    ...set.map(([label, { source }]) => `${label} = ${source}`),
  ].join(', ');
}

function tracingText({ provider, samplingPercent }: NonNullable<TelemetryRules['tracing']>): string {
  if (provider === undefined) return 'nothing, contexts pass';
  const name = provider.kind === 'environment' ? 'ambit' : provider.name;
  return `${name} ${samplingPercent === undefined ? 'as its environment samples' : `${samplingPercent} %`}`;
}
