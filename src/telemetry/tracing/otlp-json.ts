/** Spans as OTLP in JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding), piece by piece. */
import type { Attributes, AttributeValue, FinishedSpan } from './span.ts';

export interface Resource {
  readonly attributes: Attributes;
  readonly version: string;
}

/** One export request. */
export function* otlpJson(resource: Resource, spans: readonly FinishedSpan[]): Generator<string> {
  const scope = JSON.stringify({ name: 'ambit', version: resource.version });
  const described = JSON.stringify({ attributes: attributeList(resource.attributes) });
  yield `{"resourceSpans":[{"resource":${described},"scopeSpans":[{"scope":${scope},"spans":[`;
  for (const [index, span] of spans.entries()) yield `${index === 0 ? '' : ','}${JSON.stringify(spanRecord(span))}`;
  yield ']}]}]}';
}

const kinds = { server: 2, client: 3 } as const;
const statusError = 2;

function spanRecord(span: FinishedSpan) {
  const { context, parentSpanId, name, kind, startMicros, endMicros, attributes, error } = span;
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    flags: context.sampled ? 1 : 0,
    name,
    kind: kinds[kind],
    startTimeUnixNano: `${startMicros}000`,
    endTimeUnixNano: `${endMicros}000`,
    attributes: attributeList(attributes),
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
