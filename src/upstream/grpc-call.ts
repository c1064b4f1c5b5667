/** A unary gRPC call of our own to a service of the mesh (gRPC over HTTP/2), messages as bytes. Never rejects. */
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { type HeaderList, headerValue } from '../http/header-list.ts';
import { callOwn, type OwnCall } from './own-call.ts';
import type { UpstreamPools } from './pools.ts';

export interface GrpcCall extends Pick<OwnCall, 'nextEndpoint' | 'authority' | 'timeoutMs' | 'maxBytes'> {
  /** `package.Service/Method`. */
  readonly method: string;
  readonly metadata?: HeaderList;
  readonly message: Uint8Array;
}

export type GrpcCallOutcome =
  | { readonly kind: 'message'; readonly message: Buffer }
  | { readonly kind: 'failed'; readonly reason: string };

export async function callGrpc(
  call: GrpcCall,
  dependencies: { readonly pools: UpstreamPools; readonly clock: Clock },
  gone?: Cancellation,
): Promise<GrpcCallOutcome> {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(call.message.length, 1);
  const { nextEndpoint, authority, timeoutMs, maxBytes } = call;
  const outcome = await callOwn(
    {
      nextEndpoint,
      authority,
      timeoutMs,
      maxBytes: maxBytes + head.length,
      protocol: 'h2c',
      method: 'POST',
      path: `/${call.method}`,
      headers: [
        'content-type',
        'application/grpc',
        'te',
        'trailers',
        'grpc-timeout',
        `${Math.min(99_999_999, Math.max(1, Math.ceil(timeoutMs)))}m`,
        ...(call.metadata ?? []),
      ],
      body: Buffer.concat([head, call.message]),
    },
    dependencies,
    gone,
  );
  if (outcome.kind === 'failed') return outcome;
  const { status, headers, trailers, body } = outcome;
  const code = headerValue(trailers, 'grpc-status') ?? headerValue(headers, 'grpc-status');
  if (status !== 200) return failed(`status ${status}`);
  if (code !== '0') return failed(code === undefined ? 'no gRPC status' : `gRPC status ${code}`);
  // One message, not compressed: nothing else was offered.
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) return failed('not one message');
  return { kind: 'message', message: body.subarray(5) };
}

function failed(reason: string): GrpcCallOutcome {
  return { kind: 'failed', reason };
}
