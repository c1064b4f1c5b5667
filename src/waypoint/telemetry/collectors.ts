/**
 * Collectors that the mesh configuration names, as services of the mesh: records go to them over the same pools and tunnels as
 * requests, so a collector proves its identity and gets ours. One exporter for each collector and kind of record.
 *
 * I1: traffic never waits, and a queue is bounded (`BatchExporter`). I2: a collector cannot make the waypoint trace itself, or
 * count itself in Istio's metrics: calls of our own are no requests of the chain.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { MetricsRegistry } from '../../base/metrics.ts';
import type { Random } from '../../base/random.ts';
import type { HeaderList } from '../../http/header-list.ts';
import type { ServiceTarget } from '../../route/mesh-config.ts';
import type { LogProvider, TraceProvider } from '../../route/telemetry/rules.ts';
import { BatchExporter } from '../../telemetry/tracing/batch-exporter.ts';
import { spanCounter, wholeText } from '../../telemetry/tracing/exporter.ts';
import type { LogRecord } from '../../telemetry/tracing/log-record.ts';
import { otlpJson, type Resource } from '../../telemetry/tracing/otlp-json.ts';
import {
  logsExportMethod,
  otlpLogsMessage,
  otlpTraceMessage,
  traceExportMethod,
} from '../../telemetry/tracing/otlp-protobuf.ts';
import type { PostOutcome } from '../../telemetry/tracing/post.ts';
import type { FinishedSpan } from '../../telemetry/tracing/span.ts';
import { zipkinJson } from '../../telemetry/tracing/zipkin-json.ts';
import type { UpstreamEndpoint, UpstreamProtocol } from '../../upstream/endpoint.ts';
import { callGrpc } from '../../upstream/grpc-call.ts';
import { callOwn, type OwnCall } from '../../upstream/own-call.ts';
import type { UpstreamPools } from '../../upstream/pools.ts';

type OtlpLogs = Extract<LogProvider, { kind: 'otlp' }>;
type Traces = Extract<TraceProvider, { kind: 'otlp' | 'zipkin' }>;

const defaultTimeoutMs = 10_000;
const mostAnswerBytes = 64 * 1024;
/** Of each kind; who writes more into a mesh configuration gets no further ones. */
const mostExporters = 64;
const closeMs = 2_000;

export interface CollectorDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly pools: UpstreamPools;
  /** Of a collector's service; undefined: there is none (any more). */
  readonly endpointOf: (target: ServiceTarget, tried: ReadonlySet<string>) => UpstreamEndpoint | undefined;
}

export class Collectors {
  readonly #options: CollectorDependencies;
  readonly #resource: Resource;
  /** By what they are; providers are other objects after each compilation. */
  readonly #spans = new Exporters<Traces, FinishedSpan>((provider) => this.#spanExporter(provider));
  readonly #logs = new Exporters<OtlpLogs, LogRecord>((provider) => this.#logExporter(provider));

  constructor(options: CollectorDependencies, resource: Resource) {
    this.#options = options;
    this.#resource = resource;
  }

  span(provider: Traces, span: FinishedSpan): void {
    this.#spans.of(provider).add(span);
  }

  log(provider: OtlpLogs, record: LogRecord): void {
    this.#logs.of(provider).add(record);
  }

  /** Sends what is left, for two seconds at most. Never rejects. */
  async close(): Promise<void> {
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const late = clock.after(closeMs, resolve);
      void Promise.all([this.#spans.close(), this.#logs.close()]).then(() => {
        late.cancel();
        resolve();
      });
    });
  }

  #spanExporter(provider: Traces): BatchExporter<FinishedSpan> {
    const { clock } = this.#options;
    return new BatchExporter<FinishedSpan>({
      ...this.#common(),
      what: `spans for ${provider.name}`,
      counter: (result) => spanCounter(this.#options.metrics, result),
      encode: async (batch) => {
        if (provider.kind === 'zipkin') {
          const { path, shortTraceIds } = provider;
          const body = await wholeText(zipkinJson({ service: 'waypoint', shortTraceIds }, batch), clock);
          return () => this.#post(provider.target, path, [], body, defaultTimeoutMs);
        }
        const { http, headers } = provider;
        if (http !== undefined) {
          const body = await wholeText(otlpJson(this.#resource, batch), clock);
          return () => this.#post(provider.target, http.path, headers.flat(), body, http.timeoutMs);
        }
        const message = await otlpTraceMessage(this.#resource, batch, { clock });
        return () => this.#call(provider.target, traceExportMethod, headers.flat(), message);
      },
    });
  }

  #logExporter({ name, target, logName }: OtlpLogs): BatchExporter<LogRecord> {
    const { clock } = this.#options;
    const { attributes, version } = this.#resource;
    const resource: Resource = { attributes: [...attributes, ['log_name', logName]], version };
    return new BatchExporter<LogRecord>({
      ...this.#common(),
      what: `access logs for ${name}`,
      counter: (result) =>
        this.#options.metrics.counter(
          'ambit_access_log_records_total',
          'Access log records for collectors, by what became of them.',
          {
            result,
          },
        ),
      encode: async (batch) => {
        const message = await otlpLogsMessage(resource, batch, { clock });
        return () => this.#call(target, logsExportMethod, [], message);
      },
    });
  }

  #common() {
    const { clock, random, logger } = this.#options;
    return { clock, random, logger: logger.topic('tracing') };
  }

  async #post(
    target: ServiceTarget,
    path: string,
    headers: HeaderList,
    body: string,
    timeoutMs: number,
  ): Promise<PostOutcome> {
    const outcome = await callOwn(
      {
        ...this.#to(target, 'h1'),
        method: 'POST',
        path,
        headers: ['content-type', 'application/json', 'content-length', String(Buffer.byteLength(body)), ...headers],
        body: Buffer.from(body),
        timeoutMs,
        maxBytes: mostAnswerBytes,
      },
      this.#options,
    );
    return outcome.kind === 'answer' ? { kind: 'answered', status: outcome.status } : outcome;
  }

  async #call(target: ServiceTarget, method: string, metadata: HeaderList, message: Buffer): Promise<PostOutcome> {
    const outcome = await callGrpc(
      { ...this.#to(target, 'h2c'), method, metadata, message, timeoutMs: defaultTimeoutMs, maxBytes: mostAnswerBytes },
      this.#options,
    );
    return outcome.kind === 'message' ? { kind: 'answered', status: 200 } : outcome;
  }

  #to(target: ServiceTarget, protocol: UpstreamProtocol): Pick<OwnCall, 'authority' | 'nextTry'> {
    return {
      authority: `${target.hostname}:${target.port}`,
      nextTry: (tried) => {
        const endpoint = this.#options.endpointOf(target, tried);
        return endpoint === undefined
          ? { kind: 'none', reason: 'no healthy endpoint' }
          : { kind: 'endpoint', endpoint, protocol };
      },
    };
  }
}

/** Exporters of one kind of record, each made when it is first needed. */
class Exporters<Provider extends Traces | OtlpLogs, Item> {
  readonly #make: (provider: Provider) => BatchExporter<Item>;
  readonly #byKey = new Map<string, BatchExporter<Item>>();
  readonly #byProvider = new WeakMap<Provider, BatchExporter<Item>>();

  constructor(make: (provider: Provider) => BatchExporter<Item>) {
    this.#make = make;
  }

  of(provider: Provider): BatchExporter<Item> {
    return this.#byProvider.getOrInsertComputed(provider, () => this.#find(provider));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#byKey.values()].map((exporter) => exporter.close()));
  }

  #find(provider: Provider): BatchExporter<Item> {
    const key = keyOf(provider);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const exporter = this.#make(provider);
    // Without room it is as one that is closed: all is dropped, and counted.
    if (this.#byKey.size >= mostExporters) void exporter.close();
    else this.#byKey.set(key, exporter);
    return exporter;
  }
}

function keyOf(provider: Traces | OtlpLogs): string {
  const { kind, name, target } = provider;
  return JSON.stringify([kind, name, target, 'logName' in provider ? provider.logName : provider]);
}
