/**
 * Telemetry of one request that somebody asked for something about: its trace, its gRPC messages, what was sent, and when it
 * ended. A request about which nobody asked anything has none of this.
 */

import { GrpcMessageCounter } from '../../http/grpc-message-counter.ts';
import type { HeaderList } from '../../http/header-list.ts';
import type { Service } from '../../mesh/model.ts';
import type { TelemetryRules } from '../../route/telemetry/rules.ts';
import type { BodyObserver } from '../../upstream/body-observer.ts';
import type { UpstreamEndpoint } from '../../upstream/endpoint.ts';
import type { Tunnel, WaypointServices } from '../context.ts';
import { shapedTraffic, trafficLabels } from '../labels.ts';
import type { Watched } from './make-facts.ts';
import { fixedShape, needsFacts } from './metric-shapes.ts';
import { defaultReportingIntervalMs } from './periodic-reports.ts';
import { type RequestTrace, startRequestTrace } from './request-trace.ts';

export interface RequestStart {
  readonly headers: HeaderList;
  readonly requestId: string;
  readonly hasBody: boolean;
  readonly grpc: boolean;
  readonly startedMs: number;
}

/** Undefined: nobody asked anything about such requests. */
export function watchRequest(
  services: WaypointServices,
  tunnel: Tunnel,
  rules: TelemetryRules | undefined,
  start: RequestStart,
): RequestTelemetry | undefined {
  const trace =
    rules?.tracing === undefined && services.telemetry.tracing === undefined
      ? undefined
      : startRequestTrace(services, tunnel, rules?.tracing, start.headers, start.requestId);
  if (rules === undefined && trace === undefined && !start.grpc) return undefined;
  return new RequestTelemetry(services, tunnel, rules, trace, start);
}

export class RequestTelemetry {
  readonly rules: TelemetryRules | undefined;
  readonly trace: RequestTrace | undefined;
  /** For each chunk of the response's body. */
  readonly responseObserver: ((chunk: Buffer) => void) | undefined;
  readonly #services: WaypointServices;
  readonly #tunnel: Tunnel;
  readonly #messages: MessageReports | undefined;
  #sent: Watched['sent'];
  #requestEndedMs: number | undefined;

  constructor(
    services: WaypointServices,
    tunnel: Tunnel,
    rules: TelemetryRules | undefined,
    trace: RequestTrace | undefined,
    { grpc, hasBody, startedMs }: RequestStart,
  ) {
    this.#services = services;
    this.#tunnel = tunnel;
    this.rules = rules;
    this.trace = trace;
    this.#messages = grpc ? new MessageReports() : undefined;
    this.#requestEndedMs = hasBody ? undefined : startedMs;
    const counter = this.#messages?.sent;
    this.responseObserver = counter === undefined ? undefined : (chunk) => counter.take(chunk);
  }

  /** The request goes on, like this. The headers to send. */
  forwarding(path: string, authority: string, headers: HeaderList): HeaderList {
    const out = this.trace === undefined ? headers : this.trace.forward(headers);
    this.#sent = { path, authority, headers: out };
    return out;
  }

  /** Sees the request's body, and lets `other` see it. */
  bodyObserver(other: BodyObserver | undefined): BodyObserver {
    const counter = this.#messages?.received;
    return {
      take: (chunk) => {
        counter?.take(chunk);
        other?.take(chunk);
      },
      end: () => {
        this.#requestEndedMs = this.#services.clock.nowMs();
        other?.end();
      },
      fail: (error) => other?.fail(error),
    };
  }

  /** Where a try goes: from now on messages are reported while they pass. */
  chosen(service: Service | undefined, endpoint: UpstreamEndpoint): void {
    const messages = this.#messages;
    // Where labels depend on what the request will have been, messages wait for its end.
    if (messages === undefined || needsFacts(this.rules?.metrics)) return;
    const { traffic, telemetry } = this.#services;
    const { metrics } = this.rules ?? {};
    messages.stop?.();
    messages.stop = telemetry.reports.add(metrics?.reportingIntervalMs ?? defaultReportingIntervalMs, () =>
      messages.report(traffic, shapedTraffic(trafficLabels(this.#tunnel, service, endpoint), fixedShape(metrics))),
    );
  }

  /** It is over: what is left of messages. */
  finishMessages(labels: Parameters<MessageReports['report']>[1]): void {
    this.#messages?.stop?.();
    this.#messages?.report(this.#services.traffic, labels);
  }

  get watched(): Watched {
    return {
      sent: this.#sent,
      requestEndedMs: this.#requestEndedMs,
      context: this.trace?.context,
      serverName: undefined,
    };
  }
}

class MessageReports {
  readonly received = new GrpcMessageCounter();
  readonly sent = new GrpcMessageCounter();
  stop: (() => void) | undefined;
  #reportedReceived = 0;
  #reportedSent = 0;

  report(traffic: WaypointServices['traffic'], labels: Parameters<WaypointServices['traffic']['messages']>[0]): void {
    const [received, sent] = [this.received.count - this.#reportedReceived, this.sent.count - this.#reportedSent];
    if (received === 0 && sent === 0) return;
    this.#reportedReceived += received;
    this.#reportedSent += sent;
    traffic.messages(labels, received, sent);
  }
}
