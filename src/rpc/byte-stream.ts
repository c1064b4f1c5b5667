/**
 * One bidirectional gRPC call whose messages are bytes, read one at a time: the next is taken from the connection only
 * when it is asked for, so that whoever reads slowly slows the sender.
 *
 * I1: how it ended is told once, to the `next` that waits or to the one that comes; nothing is thrown.
 * I2: of messages at most one is held here.
 */
import { type Client, type Metadata, status } from '@grpc/grpc-js';
import { putMessagesTogetherInPlace } from './messages-in-place.ts';
import { type RpcCode, type RpcFailure, rpcFailure } from './outcome.ts';

export type StreamEvent =
  | { readonly kind: 'message'; readonly bytes: Uint8Array }
  /** The server closed it in order. */
  | { readonly kind: 'end' }
  | RpcFailure;

export interface RpcByteStream {
  /** Resolves when the message was handed to the connection, or can never be. Never rejects. */
  send(message: Uint8Array): Promise<void>;
  /** One call at a time. After an end or a failure every call answers the same. */
  next(): Promise<StreamEvent>;
  /** Ends it with CANCELLED; `next` then says so. Calling it again does nothing. */
  cancel(): void;
}

type Call = ReturnType<ReturnType<Client['getChannel']>['createCall']>;

/** `onEnd` is called once, whatever the end was. Whoever opens a stream reads it to its end or cancels it. */
export function openByteStream(client: Client, path: string, metadata: Metadata, onEnd: () => void): RpcByteStream {
  putMessagesTogetherInPlace();
  return new GrpcByteStream(
    client.getChannel().createCall(path, Number.POSITIVE_INFINITY, null, null, null),
    metadata,
    onEnd,
  );
}

class GrpcByteStream implements RpcByteStream {
  readonly #call: Call;
  readonly #onEnd: () => void;
  /** Sends that the connection has not taken yet. */
  readonly #unsent = new Set<() => void>();
  #waiting: ((event: StreamEvent) => void) | undefined;
  #arrived: Uint8Array | undefined;
  #reading = false;
  #end: StreamEvent | undefined;

  constructor(call: Call, metadata: Metadata, onEnd: () => void) {
    this.#call = call;
    this.#onEnd = onEnd;
    call.start(metadata, {
      onReceiveMetadata: () => {},
      onReceiveMessage: (bytes: Uint8Array) => this.#received(bytes),
      onReceiveStatus: ({ code, details }) =>
        this.#ended(code === status.OK ? { kind: 'end' } : rpcFailure(codeName(code), details)),
    });
  }

  send(message: Uint8Array): Promise<void> {
    if (this.#end !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const settle = () => {
        this.#unsent.delete(settle);
        resolve();
      };
      this.#unsent.add(settle);
      this.#call.sendMessageWithContext(
        { callback: settle },
        Buffer.from(message.buffer, message.byteOffset, message.length),
      );
    });
  }

  next(): Promise<StreamEvent> {
    const bytes = this.#arrived;
    if (bytes !== undefined) {
      this.#arrived = undefined;
      return Promise.resolve({ kind: 'message', bytes });
    }
    if (this.#end !== undefined) return Promise.resolve(this.#end);
    return new Promise((resolve) => {
      this.#waiting = resolve;
      if (this.#reading) return;
      this.#reading = true;
      this.#call.startRead();
    });
  }

  cancel(): void {
    if (this.#end === undefined) this.#call.cancelWithStatus(status.CANCELLED, 'cancelled here');
  }

  #received(bytes: Uint8Array): void {
    this.#reading = false;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#arrived = bytes;
    else waiting({ kind: 'message', bytes });
  }

  #ended(end: StreamEvent): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    for (const settle of [...this.#unsent]) settle();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(end);
    this.#onEnd();
  }
}

function codeName(code: status): RpcCode {
  return (status[code] as RpcCode | undefined) ?? 'UNKNOWN';
}
