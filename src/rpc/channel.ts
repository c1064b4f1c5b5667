/**
 * A gRPC channel to a control plane, the client half of the door to grpc-js. Outcomes are values.
 *
 * I1: roots, client certificate and token are those of the moment of the call; a change of the first two makes a new
 *     connection for new calls and leaves running ones alone.
 * I2: a token travels only inside TLS.
 */

import { isIPv6 } from 'node:net';
import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { Client, credentials, type ChannelOptions as GrpcOptions, Metadata } from '@grpc/grpc-js';
import { errorText } from '../base/errors.ts';
import { openByteStream, type RpcByteStream } from './byte-stream.ts';
import { connected } from './connected.ts';
import {
  type ClientCertificate,
  type RootsSource,
  readText,
  type ServerAddress,
  serverNameOptions,
  type TextSource,
  tlsCredentials,
} from './credentials.ts';
import { failureFromError, type RpcFailure, type RpcResult, rpcFailure } from './outcome.ts';

export interface ChannelOptions {
  readonly address: ServerAddress;
  /** Not used without TLS. */
  readonly roots: RootsSource;
  /** Asked per call; give the same object while nothing changed. */
  readonly clientCertificate?: () => ClientCertificate | undefined;
  readonly token?: TextSource;
  readonly alternativeNames?: readonly string[];
  /** The only group for key exchange, by OpenSSL's name; left out: what OpenSSL prefers. */
  readonly keyExchange?: string;
  /** Sent with every call, names in lower case. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Default 4 MiB. */
  readonly maxReceiveBytes?: number;
}

export interface CallOptions {
  /** Covers connecting as well. Default 10 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface RpcChannel {
  /** Never rejects. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options?: CallOptions,
  ): Promise<RpcResult<MessageShape<O>>>;
  /**
   * A call whose messages stay bytes. Answers once there is a connection, or with why there is none. A connection that
   * could not be made is forgotten, so that the next call tries at once: waiting is the caller's. Never rejects.
   */
  openStream(
    method: DescMethodBiDiStreaming,
    options?: StreamOptions,
  ): Promise<{ readonly kind: 'ok'; readonly stream: RpcByteStream } | RpcFailure>;
  close(): void;
}

export interface StreamOptions {
  /** Default 5 s. */
  readonly connectTimeoutMs?: number;
}

/** Connects on the first call. Whoever makes a channel closes it. */
export function createChannel(options: ChannelOptions): RpcChannel {
  return new GrpcChannel(options);
}

interface Connection {
  readonly kind: 'ok';
  readonly client: Client;
  readonly rootsPem: string | undefined;
  readonly certificate: ClientCertificate | undefined;
  calls: number;
  /** A newer one took its place: it closes with its last call. */
  retired: boolean;
}

class GrpcChannel implements RpcChannel {
  readonly #options: ChannelOptions;
  #connection: Connection | undefined;
  #closed = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<RpcResult<MessageShape<O>>> {
    const begun = await this.#begin(options.signal);
    if (begun.kind === 'error') return begun;
    const { connection, metadata } = begun;
    return await new Promise((resolve) => {
      const call = connection.client.makeUnaryRequest(
        methodPath(method),
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes) => fromBinary(method.output, bytes),
        toBinary(method.input, create(method.input, request)),
        metadata,
        { deadline: Date.now() + (options.timeoutMs ?? 10_000) },
        (error, message) => {
          options.signal?.removeEventListener('abort', cancel);
          connection.calls--;
          closeWhenIdle(connection);
          if (error !== null) resolve(failureFromError(error));
          else if (message === undefined) resolve(rpcFailure('INTERNAL', 'an answer without a message'));
          else resolve({ kind: 'ok', message });
        },
      );
      const cancel = () => call.cancel();
      options.signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  async openStream(
    method: DescMethodBiDiStreaming,
    { connectTimeoutMs = 5000 }: StreamOptions = {},
  ): Promise<{ readonly kind: 'ok'; readonly stream: RpcByteStream } | RpcFailure> {
    const begun = await this.#begin(undefined);
    if (begun.kind === 'error') return begun;
    const { connection, metadata } = begun;
    const outcome = await connected(connection.client.getChannel(), connectTimeoutMs);
    if (outcome !== 'ready') this.#retire(connection);
    const left = () => {
      connection.calls--;
      closeWhenIdle(connection);
    };
    if (outcome === 'late' || this.#closed) {
      left();
      return outcome === 'late'
        ? rpcFailure('DEADLINE_EXCEEDED', `no connection within ${connectTimeoutMs} ms`)
        : rpcFailure('CANCELLED', 'the channel was closed');
    }
    const stream = openByteStream(connection.client, methodPath(method), metadata, left);
    if (outcome === 'ready') return { kind: 'ok', stream };
    // A call on a failed connection fails at once, and says why.
    const failed = await stream.next();
    stream.cancel();
    return failed.kind === 'error' ? failed : rpcFailure('UNAVAILABLE', 'the connection failed');
  }

  close(): void {
    this.#closed = true;
    this.#connection?.client.close();
    this.#connection = undefined;
  }

  /** A connection that counts one call more, and what goes with the call. */
  async #begin(
    signal: AbortSignal | undefined,
  ): Promise<{ readonly kind: 'ok'; readonly connection: Connection; readonly metadata: Metadata } | RpcFailure> {
    const [roots, metadata] = await Promise.all([this.#roots(), this.#metadata()]);
    if (roots.kind === 'error') return roots;
    if (metadata.kind === 'error') return metadata;
    if (this.#closed || signal?.aborted === true) return rpcFailure('CANCELLED', 'given up before it was sent');
    // From here on nothing is awaited, so that no other call retires the connection before this one counts.
    const connection = this.#connect(roots.rootsPem);
    if (connection.kind === 'error') return connection;
    connection.calls++;
    return { kind: 'ok', connection, metadata: metadata.metadata };
  }

  #retire(connection: Connection): void {
    connection.retired = true;
    if (this.#connection === connection) this.#connection = undefined;
    closeWhenIdle(connection);
  }

  async #roots(): Promise<{ readonly kind: 'ok'; readonly rootsPem: string | undefined } | RpcFailure> {
    const { address, roots } = this.#options;
    try {
      return { kind: 'ok', rootsPem: !address.tls || roots.kind === 'system' ? undefined : await readText(roots) };
    } catch (error) {
      return rpcFailure('UNAVAILABLE', `cannot read the root certificates: ${errorText(error)}`);
    }
  }

  #connect(rootsPem: string | undefined): Connection | RpcFailure {
    const certificate = this.#options.address.tls ? this.#options.clientCertificate?.() : undefined;
    const present = this.#connection;
    if (present !== undefined && present.rootsPem === rootsPem && present.certificate === certificate) return present;
    try {
      const fresh: Connection = {
        kind: 'ok',
        client: this.#client(rootsPem, certificate),
        rootsPem,
        certificate,
        calls: 0,
        retired: false,
      };
      if (present !== undefined) this.#retire(present);
      this.#connection = fresh;
      return fresh;
    } catch (error) {
      return rpcFailure('UNAVAILABLE', `unusable root or client certificate: ${errorText(error)}`);
    }
  }

  #client(rootsPem: string | undefined, certificate: ClientCertificate | undefined): Client {
    const { address, alternativeNames = [], keyExchange, maxReceiveBytes = 4 * 2 ** 20 } = this.#options;
    const trust = { address, rootsPem, certificate, alternativeNames, keyExchange };
    const host = isIPv6(address.host) ? `[${address.host}]` : address.host;
    return new Client(
      `dns:${host}:${address.port}`,
      address.tls ? tlsCredentials(trust) : credentials.createInsecure(),
      {
        ...fixedOptions,
        ...serverNameOptions(trust),
        'grpc.max_receive_message_length': maxReceiveBytes,
        ...(maxReceiveBytes > wideWindowBytes ? { 'grpc-node.flow_control_window': wideWindowBytes } : {}),
      },
    );
  }

  async #metadata(): Promise<{ readonly kind: 'ok'; readonly metadata: Metadata } | RpcFailure> {
    const { token, address, metadata: fixed = {} } = this.#options;
    try {
      const metadata = new Metadata();
      for (const [name, value] of Object.entries(fixed)) metadata.set(name, value);
      if (token !== undefined && address.tls) metadata.set('authorization', `Bearer ${(await readText(token)).trim()}`);
      return { kind: 'ok', metadata };
    } catch (error) {
      return rpcFailure('UNAVAILABLE', `cannot read the token: ${errorText(error)}`);
    }
  }
}

/** ztunnel's keepalive and back-off; nothing of the environment (proxies, TXT records) decides where calls go. */
const fixedOptions: GrpcOptions = {
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.initial_reconnect_backoff_ms': 10,
  'grpc.max_reconnect_backoff_ms': 15_000,
  'grpc.dns_min_time_between_resolutions_ms': 1000,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_retries': 0,
};

/**
 * For large messages: 64 KiB a round trip is too little for tens of megabytes, and with several MiB one turn of the event loop
 * reads for 4 to 20 ms what has meanwhile arrived.
 */
const wideWindowBytes = 256 * 1024;

function closeWhenIdle(connection: Connection): void {
  if (connection.retired && connection.calls === 0) connection.client.close();
}

function methodPath(method: DescMethodUnary | DescMethodBiDiStreaming): string {
  return `/${method.parent.typeName}/${method.name}`;
}
