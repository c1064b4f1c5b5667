/**
 * Telemetries put where they apply: the root namespace's, the waypoint's namespace's, those whose targetRefs name the gateway,
 * those that name the service, each laid over the one before. Of two on one level the older counts, as at Istio.
 */

import type { ServiceKey } from '../mesh/model.ts';
import type { MeshConfig } from '../route/mesh-config.ts';
import type { LogProvider, TelemetryModel, TelemetryRules, TraceProvider } from '../route/telemetry/rules.ts';
import type { GatewayRecord } from './gateways.ts';
import { diagnose } from './object.ts';
import { specKey } from './options.ts';
import { placeByTarget, type TargetContext } from './policy-placement.ts';
import type { TelemetrySpec } from './telemetry.ts';
import { mergeAccessLogs, mergeMetrics, mergeTracing } from './telemetry-merge.ts';
import { isPrometheus, logProvider, meshFileProvider, ownProvider, traceProvider } from './telemetry-providers.ts';

/** Undefined when nobody said anything: then nothing of this costs a request anything. */
export function buildTelemetries(context: TargetContext, config: MeshConfig): TelemetryModel | undefined {
  const { inputs, gateways, bindings, options, diagnostics } = context;
  for (const { object, selects } of inputs.telemetries) {
    if (!selects) continue;
    const problem = 'it selects pods; a waypoint is told by targetRefs or for its namespace';
    diagnostics.push(diagnose(object, 'TELEMETRY_IGNORED', problem, ['spec', 'selector']));
  }
  const placed = placeByTarget(inputs.telemetries, (spec) => spec, context);
  const wide = inputs.telemetries.filter(({ targets, selects }) => targets.length === 0 && !selects);
  const oldest = (specs: readonly TelemetrySpec[] | undefined, what: string): readonly TelemetrySpec[] => {
    const [first, ...others] = specs ?? [];
    for (const { object } of others) {
      diagnostics.push(diagnose(object, 'TELEMETRY_SHADOWED', `an older Telemetry for ${what} is used instead`));
    }
    return first === undefined ? [] : [first];
  };
  const ofNamespace = new Map<string, readonly TelemetrySpec[]>();
  for (const { namespace } of wide) {
    if (ofNamespace.has(namespace)) continue;
    const all = wide.filter((spec) => spec.namespace === namespace);
    ofNamespace.set(namespace, oldest(all, `namespace ${namespace}`));
  }
  const merger = new Merger(config, context);
  const ofGateways = new Map<string, TelemetryRules>();
  const chains = new Map<GatewayRecord, readonly TelemetrySpec[]>();
  for (const record of gateways.records.values()) {
    const chain = [
      ...(ofNamespace.get(options.rootNamespace) ?? []),
      ...(record.namespace === options.rootNamespace ? [] : (ofNamespace.get(record.namespace) ?? [])),
      ...oldest(placed.gateways.get(record.key), `Gateway ${record.key}`),
    ];
    chains.set(record, chain);
    const rules = merger.merge(chain);
    if (rules !== undefined) ofGateways.set(record.key, rules);
  }
  const ofServices = new Map<string, Map<ServiceKey, TelemetryRules>>();
  for (const [spec, { gateway }] of bindings.services) {
    const key = specKey(spec, options);
    const own = placed.services.get(key);
    const chain = gateway === undefined ? undefined : chains.get(gateway);
    if (own === undefined || gateway === undefined || chain === undefined) continue;
    const rules = merger.merge([...chain, ...oldest(own, `Service ${key}`)]);
    if (rules === undefined) continue;
    ofServices.getOrInsertComputed(gateway.key, () => new Map()).set(key, rules);
  }
  if (ofGateways.size === 0 && ofServices.size === 0) return undefined;
  return { gateways: ofGateways, services: ofServices };
}

/** Providers and their formats are compiled once for all that name them, and problems told once. */
class Merger {
  readonly #config: MeshConfig;
  readonly #context: TargetContext;
  readonly #logs = new Map<string, LogProvider | undefined>();
  readonly #traces = new Map<string, TraceProvider | undefined>();

  constructor(config: MeshConfig, context: TargetContext) {
    this.#config = config;
    this.#context = context;
  }

  merge(chain: readonly TelemetrySpec[]): TelemetryRules | undefined {
    const { defaultProviders } = this.#config;
    const accessLogs = this.#accessLogs(chain);
    const metrics = mergeMetrics(chain, defaultProviders.metrics ?? ['prometheus'], (name) =>
      isPrometheus(name, this.#config),
    );
    const tracing = this.#tracing(chain);
    return accessLogs === undefined && metrics === undefined && tracing === undefined
      ? undefined
      : { accessLogs, metrics, tracing };
  }

  #accessLogs(chain: readonly TelemetrySpec[]): TelemetryRules['accessLogs'] {
    const { defaultProviders, accessLog } = this.#config;
    const file = accessLog.file === undefined ? undefined : accessLog.file === '' ? [] : [meshFileProvider];
    const configured = defaultProviders.accessLogging ?? file;
    const logs = mergeAccessLogs(chain, configured ?? [ownProvider]);
    const meant = logs ?? configured?.map((provider) => ({ provider, filter: undefined }));
    return meant?.flatMap(({ provider: name, filter }) => {
      const provider = this.#logs.getOrInsertComputed(name, () =>
        logProvider(name, this.#config, this.#problem(chain)),
      );
      return provider === undefined ? [] : [{ provider, filter }];
    });
  }

  #tracing(chain: readonly TelemetrySpec[]): TelemetryRules['tracing'] {
    const { defaultProviders, tracingSamplingPercent } = this.#config;
    const said = mergeTracing(chain);
    const [usual] = defaultProviders.tracing ?? [];
    if (said === undefined && usual === undefined) return undefined;
    const name = said?.provider ?? usual ?? ownProvider;
    const provider = this.#traces.getOrInsertComputed(name, () =>
      traceProvider(name, this.#config, this.#problem(chain)),
    );
    const { disabled, ...rule } = said ?? unsaid;
    return {
      ...rule,
      provider: disabled ? undefined : provider,
      samplingPercent:
        rule.samplingPercent ?? tracingSamplingPercent ?? (name === ownProvider ? undefined : istiosSamplingPercent),
    };
  }

  #problem(chain: readonly TelemetrySpec[]) {
    return (name: string, problem: string): void => {
      const { diagnostics, inputs } = this.#context;
      const naming = chain.findLast(({ accessLogging, tracing }) =>
        [...accessLogging, ...tracing].some(({ providers }) => providers.includes(name)),
      );
      const object = naming?.object ?? inputs.meshConfigs[0]?.object;
      if (object !== undefined)
        diagnostics.push(diagnose(object, 'TELEMETRY_PROVIDER', `${name}: ${problem}`, ['spec']));
    };
  }
}

/** PILOT_TRACE_SAMPLING's default. */
const istiosSamplingPercent = 1;

const unsaid: NonNullable<ReturnType<typeof mergeTracing>> = {
  provider: undefined,
  disabled: false,
  samplingPercent: undefined,
  byRequestId: true,
  customTags: [],
  istioTags: true,
  propagate: true,
};
