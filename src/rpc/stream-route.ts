/**
 * Bidirectional streams of bytes, the serving side of `byte-stream.ts`. A message is read when it is asked for, and
 * sending waits until the connection has taken it, so that a slow client slows its stream and no other.
 */
import type { DescMethodBiDiStreaming } from '@bufbuild/protobuf';
import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import { type RpcFailure, rpcFailure } from './outcome.ts';
import { type Caller, callerOf, type RouteFactory } from './server.ts';

export interface ServedStream {
  readonly caller: Caller;
  /** Ends when the client has said everything or has gone. */
  messages(): AsyncGenerator<Uint8Array, void, void>;
  /** Resolves when the connection took it; false: the client has gone. Never rejects. */
  send(message: Uint8Array): Promise<boolean>;
  /** Calls back once when the client has gone or the call is over. */
  onGone(callback: () => void): void;
  /** Ends the call before its handler does. Calling it again does nothing. */
  end(failure: RpcFailure | undefined): void;
}

/** What the handler resolves to ends the call: a failure, or in order. */
export type StreamHandler = (stream: ServedStream) => Promise<RpcFailure | undefined>;

/** Binds a handler to a method, for `startRpcServer`. */
export function streamRoute(method: DescMethodBiDiStreaming, handler: StreamHandler): RouteFactory {
  return ({ clock, logger }) => ({
    method,
    handle: (call: ServerDuplexStream<Uint8Array, Uint8Array>) => {
      const stream = new GrpcServedStream(call, callerOf(call, clock));
      handler(stream).then(
        (failure) => stream.end(failure),
        (error: unknown) => {
          const stack = (error as Error).stack ?? String(error);
          logger.error('a stream failed inside', { method: method.name, stack });
          stream.end(rpcFailure('INTERNAL', 'internal error'));
        },
      );
    },
  });
}

class GrpcServedStream implements ServedStream {
  readonly caller: Caller;
  readonly #call: ServerDuplexStream<Uint8Array, Uint8Array>;
  readonly #gone = new Set<() => void>();
  #over = false;

  constructor(call: ServerDuplexStream<Uint8Array, Uint8Array>, caller: Caller) {
    this.#call = call;
    this.caller = caller;
    const over = () => this.#ended();
    call.on('error', over);
    call.on('cancelled', over);
    call.on('close', over);
  }

  async *messages(): AsyncGenerator<Uint8Array, void, void> {
    try {
      // Leaving early must not destroy the call: its status is still to be sent.
      const all = this.#call.iterator({ destroyOnReturn: false });
      for await (const message of all) yield message as Uint8Array;
    } catch {
      // Cut off: there is nothing more to read, and `onGone` tells.
    }
  }

  send(message: Uint8Array): Promise<boolean> {
    if (this.#over) return Promise.resolve(false);
    return new Promise((resolve) => {
      const gone = () => resolve(false);
      this.#gone.add(gone);
      this.#call.write(message, () => {
        this.#gone.delete(gone);
        resolve(!this.#over);
      });
    });
  }

  onGone(callback: () => void): void {
    if (this.#over) callback();
    else this.#gone.add(callback);
  }

  end(failure: RpcFailure | undefined): void {
    if (this.#over) return;
    if (failure === undefined) this.#call.end();
    else this.#call.emit('error', { code: status[failure.code], details: failure.message });
    this.#ended();
  }

  #ended(): void {
    this.#over = true;
    const callbacks = [...this.#gone];
    this.#gone.clear();
    for (const callback of callbacks) callback();
  }
}
