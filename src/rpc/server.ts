/**
 * A gRPC server, the other half of the door to grpc-js. Handlers return outcomes and see who calls.
 *
 * I1: client certificates are asked for and never demanded: a handler sees one only when it leads to the server's roots,
 *     was proven by the handshake and is valid at this moment (a session may outlive its certificate).
 * I2: a handler that throws is one failed call (INTERNAL), logged with its stack.
 */
import { X509Certificate } from 'node:crypto';
import {
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { Server, type ServerUnaryCall, status, type UntypedHandleCall } from '@grpc/grpc-js';
import type { SocketAddress } from '../base/address.ts';
import { formatSocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { type RpcResult, rpcFailure } from './outcome.ts';
import { ReplaceableServerCredentials, type ServerMaterial } from './server-credentials.ts';

export interface Caller {
  /** `ip:port` as text. */
  readonly peer: string;
  /** Verified; undefined when the caller showed none or one that is not good. */
  readonly certificate: X509Certificate | undefined;
  /** First value of a metadata entry. */
  metadata(name: string): string | undefined;
}

export interface Route {
  readonly method: DescMethodUnary | DescMethodBiDiStreaming;
  readonly handle: UntypedHandleCall;
}

export type UnaryHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  caller: Caller,
) => Promise<RpcResult<MessageShape<O>>>;

export interface RpcServerOptions {
  readonly listen: SocketAddress;
  /** Undefined: plain text. */
  readonly tls: ServerMaterial | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Longer requests fail with RESOURCE_EXHAUSTED. */
  readonly maxRequestBytes: number;
  /** At the same time, per connection. */
  readonly maxCallsPerConnection: number;
}

export interface RpcServer {
  readonly address: SocketAddress;
  /** For new connections from now on. */
  replaceMaterial(material: ServerMaterial): void;
  /** Takes no new calls; resolves when the running ones ended or, after `graceMs`, were ended. */
  close(graceMs: number): Promise<void>;
}

export type RouteFactory = (options: RpcServerOptions) => Route;

/** Binds a handler to a method, for `startRpcServer`. */
export function unaryRoute<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  handler: UnaryHandler<I, O>,
): RouteFactory {
  return ({ clock, logger }) => ({
    method,
    handle: (call: ServerUnaryCall<MessageShape<I>, MessageShape<O>>, callback: UnaryCallback<MessageShape<O>>) => {
      const answer = (result: RpcResult<MessageShape<O>>) => {
        if (result.kind === 'ok') callback(null, result.message);
        else callback({ code: status[result.code], details: result.message });
      };
      handler(call.request, callerOf(call, clock)).then(answer, (error: unknown) => {
        logger.error('a call failed inside', { method: method.name, stack: (error as Error).stack ?? String(error) });
        answer(rpcFailure('INTERNAL', 'internal error'));
      });
    },
  });
}

/** Rejects with an AmbitError (RPC_LISTEN) when the address cannot be bound. */
export async function startRpcServer(options: RpcServerOptions, routes: readonly RouteFactory[]): Promise<RpcServer> {
  const server = new Server({
    'grpc.max_receive_message_length': options.maxRequestBytes,
    'grpc.max_concurrent_streams': options.maxCallsPerConnection,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
  });
  for (const { method, handle } of routes.map((route) => route(options))) {
    server.addService({ [method.localName]: definition(method) }, { [method.localName]: handle });
  }
  const credentials = new ReplaceableServerCredentials(options.tls);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(formatSocketAddress(options.listen), credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(cannotListen(options.listen, error));
    });
  });
  return {
    address: { ip: options.listen.ip, port },
    replaceMaterial: (material) => credentials.replace(material),
    close: (graceMs) =>
      new Promise<void>((resolve) => {
        const timer = options.clock.after(graceMs, () => server.forceShutdown());
        server.tryShutdown(() => {
          timer.cancel();
          resolve();
        });
      }),
  };
}

type UnaryCallback<T> = (error: { code: status; details: string } | null, value?: T) => void;

/** Messages of streams stay bytes. */
function definition(method: Route['method']) {
  const path = `/${method.parent.typeName}/${method.name}`;
  if (method.methodKind === 'bidi_streaming') {
    const asIs = (bytes: Buffer) => bytes;
    return {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
      responseDeserialize: asIs,
    };
  }
  return {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: (message: MessageShape<DescMessage>) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
    responseSerialize: (message: MessageShape<DescMessage>) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
  };
}

/** Who makes a call, with its certificate if it is valid now. */
export function callerOf(
  call: Pick<ServerUnaryCall<unknown, unknown>, 'getAuthContext' | 'getPeer' | 'metadata'>,
  clock: Clock,
): Caller {
  const raw = call.getAuthContext().sslPeerCertificate?.raw;
  const certificate = raw === undefined ? undefined : new X509Certificate(raw);
  const nowMs = clock.wallMs();
  const valid =
    certificate !== undefined &&
    certificate.validFromDate.getTime() <= nowMs &&
    nowMs < certificate.validToDate.getTime();
  return {
    peer: call.getPeer(),
    certificate: valid ? certificate : undefined,
    metadata(name) {
      const [value] = call.metadata.get(name);
      return typeof value === 'string' ? value : undefined;
    },
  };
}

function cannotListen(address: SocketAddress, cause: Error): AmbitError {
  return new AmbitError(`cannot serve gRPC on ${formatSocketAddress(address)}`, {
    code: 'RPC_LISTEN',
    origin: 'local',
    cause,
  });
}
