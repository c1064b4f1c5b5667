/** Requests that are larger than a TrafficProtection allows: 431 for their headers, 413 for their bodies. */
import { headerBytes, headerValue } from '../../http/header-list.ts';
import { limitBody } from '../../http/limit-body.ts';
import type { RequestSizeLimit, TrafficProtection } from '../../route/traffic-protection.ts';
import type { RequestRecord } from '../request-record.ts';
import { go, type StageAnswer } from '../stages/stage.ts';

/** A body of unknown length is let begin, and breaks off where it is too long. */
export function limitSize(record: RequestRecord, protection: TrafficProtection, size: RequestSizeLimit): StageAnswer {
  const { headers } = record.exchange.request;
  const { maxHeaders = Number.MAX_VALUE, maxHeaderBytes = Number.MAX_VALUE, maxBodyBytes } = size;
  if (headers.length > 2 * maxHeaders || headerBytes(headers) > maxHeaderBytes) {
    const over = tooLarge(record, protection, 431, 'header_size');
    if (over.kind === 'reply') return over;
  }
  if (maxBodyBytes === undefined || record.body === undefined) return go;
  if (Number(headerValue(headers, 'content-length') ?? 0) > maxBodyBytes) {
    return tooLarge(record, protection, 413, 'body_size');
  }
  if (protection.dryRun) return go;
  record.body = limitBody(record.body, maxBodyBytes);
  return go;
}

function tooLarge(
  record: RequestRecord,
  { source, dryRun }: TrafficProtection,
  status: 413 | 431,
  reason: 'body_size' | 'header_size',
): StageAnswer {
  const name = `${source.namespace}/${source.name}`;
  record.services.protections.count(name, reason, !dryRun);
  if (dryRun) {
    record.audit([`TrafficProtection ${name}`]);
    return go;
  }
  const body = status === 413 ? 'Payload Too Large' : 'Request Header Fields Too Large';
  return { kind: 'reply', status, body, flags: '-', details: `request_${reason}_limit{${name}}`, grpcStatus: 8 };
}
