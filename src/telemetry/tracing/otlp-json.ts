/** Spans as OTLP in JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding), piece by piece. */
import { type Attributes, type AttributeValue, byService, type FinishedSpan } from './span.ts';

export interface Resource {
  readonly attributes: Attributes;
  readonly version: string;
}

/** One export request. Spans of other services than the program's have a resource of their own. */
export function* otlpJson(resource: Resource, spans: readonly FinishedSpan[]): Generator<string> {
  const scope = JSON.stringify({ name: 'ambit', version: resource.version });
  let before = '{"resourceSpans":[';
  for (const [service, own] of byService(spans)) {
    const described = JSON.stringify({ attributes: attributeList(resourceOf(resource, service)) });
    yield `${before}{"resource":${described},"scopeSpans":[{"scope":${scope},"spans":[`;
    for (const [index, span] of own.entries()) yield `${index === 0 ? '' : ','}${JSON.stringify(spanRecord(span))}`;
    before = ']}]},';
  }
  yield ']}]}]}';
}

export function resourceOf({ attributes }: Resource, service: string | undefined): Attributes {
  if (service === undefined) return attributes;
  return [['service.name', service], ...attributes.filter(([key]) => key !== 'service.name')];
}

export const spanKinds = { server: 2, client: 3 } as const;
export const statusError = 2;

function spanRecord(span: FinishedSpan) {
  const { context, parentSpanId, name, kind, startMicros, endMicros, attributes, error, links = [] } = span;
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    flags: context.sampled ? 1 : 0,
    name,
    kind: spanKinds[kind],
    startTimeUnixNano: `${startMicros}000`,
    endTimeUnixNano: `${endMicros}000`,
    attributes: attributeList(attributes),
    ...(links.length === 0 ? {} : { links: links.map(({ traceId, spanId }) => ({ traceId, spanId })) }),
    status: error === undefined ? {} : { code: statusError, message: error },
  };
}

function attributeList(attributes: Attributes) {
  return attributes.flatMap(([key, value]) => (value === undefined ? [] : [{ key, value: anyValue(value) }]));
}

/** 64-bit integers are text in this encoding. */
function anyValue(value: AttributeValue) {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}
