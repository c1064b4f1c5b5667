/**
 * One gRPC call of our own with one message each way (gRPC over HTTP/2), messages as bytes. Channels of `rpc/` resolve names
 * and make connections themselves, which is no way into a tunnel. Never rejects.
 */
import type { Cancellation } from '../base/cancellation.ts';
import { type HeaderList, headerValue } from '../http/header-list.ts';
import { callOwn, type OwnCall, type OwnCallDependencies, type OwnCallOutcome } from './own-call.ts';

/** The protocol of its tries is h2c. */
export interface GrpcCall extends Pick<OwnCall, 'nextTry' | 'authority' | 'timeoutMs' | 'maxBytes'> {
  /** `package.Service/Method`. */
  readonly method: string;
  readonly metadata?: HeaderList;
  readonly message: Uint8Array;
}

export type GrpcCallOutcome =
  | { readonly kind: 'message'; readonly message: Buffer }
  | { readonly kind: 'failed'; readonly reason: string };

/** Length-prefixed message: one byte that says it is not compressed, four of its length. */
const prefixBytes = 5;

export async function callGrpc(
  { nextTry, authority, timeoutMs, maxBytes, method, metadata = [], message }: GrpcCall,
  dependencies: OwnCallDependencies,
  gone?: Cancellation,
): Promise<GrpcCallOutcome> {
  const body = framed(message);
  const outcome = await callOwn(
    {
      nextTry,
      authority,
      timeoutMs,
      maxBytes: maxBytes + prefixBytes,
      method: 'POST',
      path: `/${method}`,
      headers: [
        'content-type',
        'application/grpc',
        'te',
        'trailers',
        'grpc-timeout',
        `${Math.min(99_999_999, Math.max(1, Math.ceil(timeoutMs)))}m`,
        'content-length',
        String(body.length),
        ...metadata,
      ],
      body,
    },
    dependencies,
    gone,
  );
  return readAnswer(outcome);
}

function readAnswer(outcome: OwnCallOutcome): GrpcCallOutcome {
  if (outcome.kind === 'failed') return outcome;
  const { status, headers, body, trailers } = outcome;
  if (status !== 200) return failed(`HTTP status ${status}`);
  const code = headerValue(trailers, 'grpc-status') ?? headerValue(headers, 'grpc-status');
  if (code !== '0') {
    const text = headerValue(trailers, 'grpc-message') ?? headerValue(headers, 'grpc-message') ?? '';
    return failed(code === undefined ? 'the answer has no grpc-status' : `grpc-status ${code} ${text.slice(0, 256)}`);
  }
  if (body.length < prefixBytes) return failed('an answer without a message');
  if (body[0] !== 0) return failed('the answer is compressed, which nobody asked for');
  if (body.readUInt32BE(1) !== body.length - prefixBytes) return failed('the answer is not one whole message');
  return { kind: 'message', message: body.subarray(prefixBytes) };
}

function framed(message: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(prefixBytes + message.length);
  out[0] = 0;
  out.writeUInt32BE(message.length, 1);
  out.set(message, prefixBytes);
  return out;
}

function failed(reason: string): GrpcCallOutcome {
  return { kind: 'failed', reason };
}
