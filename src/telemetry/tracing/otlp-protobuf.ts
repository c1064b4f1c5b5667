/**
 * Spans and log records as OTLP's protobuf messages, for collectors that are spoken to by gRPC
 * (opentelemetry-proto: collector/trace/v1, collector/logs/v1; the numbers are its fields).
 */
import { inSlices, type SliceOptions } from '../../base/slices.ts';
import type { LogRecord } from './log-record.ts';
import { type Resource, resourceOf, spanKinds, statusError } from './otlp-json.ts';
import { ProtobufWriter } from './protobuf-writer.ts';
import { type Attributes, type AttributeValue, byService, type FinishedSpan } from './span.ts';

export const traceExportMethod = 'opentelemetry.proto.collector.trace.v1.TraceService/Export';
export const logsExportMethod = 'opentelemetry.proto.collector.logs.v1.LogsService/Export';

/** `ExportTraceServiceRequest`, made in slices. */
export async function otlpTraceMessage(
  resource: Resource,
  spans: readonly FinishedSpan[],
  options: SliceOptions,
): Promise<Buffer> {
  const request = new ProtobufWriter();
  function* write() {
    for (const [service, own] of byService(spans)) {
      const scopeSpans = new ProtobufWriter().message(1, scopeMessage(resource));
      for (const span of own) yield void scopeSpans.message(2, spanMessage(span));
      const resourceSpans = new ProtobufWriter().message(1, attributesMessage(1, resourceOf(resource, service)));
      request.message(1, resourceSpans.message(2, scopeSpans));
    }
  }
  await inSlices(write(), options);
  return request.finish();
}

/** `ExportLogsServiceRequest`, made in slices. */
export async function otlpLogsMessage(
  resource: Resource,
  records: readonly LogRecord[],
  options: SliceOptions,
): Promise<Buffer> {
  const scopeLogs = new ProtobufWriter().message(1, scopeMessage(resource));
  function* write() {
    for (const record of records) yield void scopeLogs.message(2, logMessage(record));
  }
  await inSlices(write(), options);
  const resourceLogs = new ProtobufWriter().message(1, attributesMessage(1, resource.attributes));
  return new ProtobufWriter().message(1, resourceLogs.message(2, scopeLogs)).finish();
}

function scopeMessage({ version }: Resource): ProtobufWriter {
  return new ProtobufWriter().text(1, 'ambit').text(2, version);
}

function spanMessage(span: FinishedSpan): ProtobufWriter {
  const { context, parentSpanId, name, kind, startMicros, endMicros, attributes, error, links = [] } = span;
  const message = new ProtobufWriter().bytes(1, hex(context.traceId)).bytes(2, hex(context.spanId));
  if (parentSpanId !== undefined) message.bytes(4, hex(parentSpanId));
  message.text(5, name).uint(6, spanKinds[kind]).fixed64(7, nanos(startMicros)).fixed64(8, nanos(endMicros));
  addAttributes(message, 9, attributes);
  for (const { traceId, spanId } of links) {
    message.message(13, new ProtobufWriter().bytes(1, hex(traceId)).bytes(2, hex(spanId)));
  }
  if (error !== undefined) message.message(15, new ProtobufWriter().text(2, error).uint(3, statusError));
  return message.fixed32(16, context.sampled ? 1 : 0);
}

function logMessage({ timeMicros, body, attributes, context }: LogRecord): ProtobufWriter {
  const message = new ProtobufWriter().fixed64(1, nanos(timeMicros)).message(5, anyValue(body));
  addAttributes(message, 6, attributes);
  if (context !== undefined) message.bytes(9, hex(context.traceId)).bytes(10, hex(context.spanId));
  return message.fixed64(11, nanos(timeMicros));
}

function attributesMessage(field: number, attributes: Attributes): ProtobufWriter {
  return addAttributes(new ProtobufWriter(), field, attributes);
}

function addAttributes(message: ProtobufWriter, field: number, attributes: Attributes): ProtobufWriter {
  for (const [key, value] of attributes) {
    if (value !== undefined) message.message(field, new ProtobufWriter().text(1, key).message(2, anyValue(value)));
  }
  return message;
}

function anyValue(value: AttributeValue): ProtobufWriter {
  if (typeof value === 'string') return new ProtobufWriter().bytes(1, Buffer.from(value));
  if (typeof value === 'boolean') return new ProtobufWriter().bool(2, value);
  return Number.isSafeInteger(value) ? new ProtobufWriter().int64(3, value) : new ProtobufWriter().double(4, value);
}

function hex(id: string): Buffer {
  return Buffer.from(id, 'hex');
}

function nanos(micros: number): bigint {
  return BigInt(micros) * 1000n;
}
