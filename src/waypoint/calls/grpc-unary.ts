/**
 * One gRPC call with one message each way (gRPC over HTTP/2), to a service of the mesh: over the same pools and tunnels as
 * any request. Channels of `rpc/` resolve names and make connections themselves, which is no way into a tunnel.
 */
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { headerValue } from '../../http/header-list.ts';
import type { ServiceTarget } from '../../route/mesh-config.ts';
import { type Caller, type CallOutcome, callService } from './call-service.ts';

export interface UnaryCall<I extends DescMessage, O extends DescMessage> {
  readonly target: ServiceTarget;
  readonly method: DescMethodUnary<I, O>;
  readonly request: MessageInitShape<I>;
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
}

export type UnaryOutcome<O extends DescMessage> =
  | { readonly kind: 'ok'; readonly message: MessageShape<O> }
  | { readonly kind: 'failed'; readonly reason: string };

/** Length-prefixed message: one byte that says it is not compressed, four of its length. */
const prefixBytes = 5;

/** Never rejects. */
export async function callUnary<I extends DescMessage, O extends DescMessage>(
  caller: Caller,
  { target, method, request, timeoutMs, maxAnswerBytes }: UnaryCall<I, O>,
): Promise<UnaryOutcome<O>> {
  const body = framed(toBinary(method.input, create(method.input, request)));
  const outcome = await callService(caller, {
    target,
    protocol: 'h2c',
    method: 'POST',
    path: `/${method.parent.typeName}/${method.name}`,
    authority: `${target.hostname}:${target.port}`,
    headers: [
      'content-type',
      'application/grpc',
      'te',
      'trailers',
      'grpc-timeout',
      `${Math.min(Math.ceil(timeoutMs), 99_999_999)}m`,
      'content-length',
      String(body.length),
    ],
    body,
    timeoutMs,
    maxAnswerBytes: maxAnswerBytes + prefixBytes,
  });
  return readAnswer(method.output, outcome);
}

function readAnswer<O extends DescMessage>(output: O, outcome: CallOutcome): UnaryOutcome<O> {
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
  try {
    return { kind: 'ok', message: fromBinary(output, body.subarray(prefixBytes)) };
  } catch {
    // The decoder has no other way to say no.
    return failed(`the answer is no ${output.typeName}`);
  }
}

function framed(message: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(prefixBytes + message.length);
  out[0] = 0;
  out.writeUInt32BE(message.length, 1);
  out.set(message, prefixBytes);
  return out;
}

function failed(reason: string): { readonly kind: 'failed'; readonly reason: string } {
  return { kind: 'failed', reason };
}
