/**
 * A scripted istiod: delta discovery written from its specification and from what istiod was seen to do (versions of
 * Addresses are hashes, those of policies empty; a stale nonce is ignored; a named subscription on a wildcard stream sends
 * everything again), with ways to misbehave.
 */
import { createHash, randomUUID } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Metadata, Server, ServerCredentials, type ServerDuplexStream, type status } from '@grpc/grpc-js';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from '../../src/proto/gen/discovery_pb.js';
import { addressType, authorizationType } from '../../src/xds/resource-types.ts';

export interface ServedResource {
  readonly value: Uint8Array;
  readonly aliases?: readonly string[];
  /** In place of the rule of its type. */
  readonly version?: string;
  /** Of the Any, in place of the type's. */
  readonly typeUrl?: string;
}

export interface SeenRequest {
  readonly stream: number;
  readonly request: DeltaDiscoveryRequest;
}

interface Watch {
  wildcard: boolean;
  readonly names: Set<string>;
  nonce: string;
}

export interface XdsServerOptions {
  /** Undefined: plain text. */
  readonly tls?: { readonly keyPem: string; readonly certPem: string };
  readonly port?: number;
  /** Resources that are given on demand without having been asked for: those of the node. */
  readonly ofNode?: (name: string) => boolean;
}

type Stream = ServerDuplexStream<Buffer, Buffer>;

const method = AggregatedDiscoveryService.method.deltaAggregatedResources;

export class XdsServer {
  port = 0;
  /** Every request that came, in order. */
  readonly requests: SeenRequest[] = [];
  readonly metadata: Metadata[] = [];
  /** Set: streams are refused with it. */
  refuse: { readonly code: status; readonly details: string } | undefined;
  /** Set: called in place of an answer. */
  script: ((stream: Stream, request: DeltaDiscoveryRequest) => void) | undefined;
  readonly #options: XdsServerOptions;
  readonly #resources = new Map<string, Map<string, ServedResource>>([
    [addressType, new Map()],
    [authorizationType, new Map()],
  ]);
  readonly #streams = new Map<Stream, Map<string, Watch>>();
  #server: Server | undefined;
  #pushes = 0;
  #streamCount = 0;

  constructor(options: XdsServerOptions = {}) {
    this.#options = options;
  }

  /** Listens, on the same port as before if it did. */
  async start(): Promise<void> {
    const server = new Server({ 'grpc.max_receive_message_length': -1 });
    const asIs = (bytes: Buffer) => bytes;
    const definition = {
      path: `/${method.parent.typeName}/${method.name}`,
      requestStream: true,
      responseStream: true,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    };
    server.addService({ delta: definition }, { delta: (stream: Stream) => this.#opened(stream) });
    const { tls, port = 0 } = this.#options;
    const credentials =
      tls === undefined
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(null, [
            { private_key: Buffer.from(tls.keyPem), cert_chain: Buffer.from(tls.certPem) },
          ]);
    this.port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${this.port || port}`, credentials, (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    this.#server = server;
  }

  /** Cuts everything off. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
    this.#streams.clear();
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Takes effect with the next push or answer. */
  set(typeUrl: string, name: string, resource: ServedResource | Uint8Array): void {
    this.#of(typeUrl).set(name, resource instanceof Uint8Array ? { value: resource } : resource);
  }

  delete(typeUrl: string, name: string): void {
    this.#of(typeUrl).delete(name);
  }

  /** To every stream that watches: these resources, or that they are gone. */
  push(typeUrl: string, names: readonly string[]): void {
    for (const [stream, watches] of this.#streams) {
      const watch = watches.get(typeUrl);
      if (watch !== undefined) this.#send(stream, typeUrl, watch, names);
    }
  }

  /** Bytes as one message, to every stream. */
  sendRaw(bytes: Uint8Array): void {
    for (const stream of this.#streams.keys()) stream.write(Buffer.from(bytes));
  }

  /** Ends all streams in order. */
  endStreams(): void {
    for (const stream of this.#streams.keys()) stream.end();
  }

  failStreams(code: status, details: string): void {
    for (const stream of this.#streams.keys()) stream.emit('error', { code, details });
  }

  /** Requests that answer a response. */
  answers(
    typeUrl: string,
  ): readonly { readonly kind: 'ack' | 'nack'; readonly nonce: string; readonly reason: string }[] {
    return this.requests
      .filter(({ request }) => request.typeUrl === typeUrl && request.responseNonce !== '')
      .map(({ request: { responseNonce: nonce, errorDetail } }) => ({
        kind: errorDetail === undefined ? 'ack' : 'nack',
        nonce,
        reason: errorDetail?.message ?? '',
      }));
  }

  /** The first request of a type on the stream of that number, from 1. */
  first(typeUrl: string, stream: number): DeltaDiscoveryRequest | undefined {
    return this.requests.find((seen) => seen.stream === stream && seen.request.typeUrl === typeUrl)?.request;
  }

  /** As it answers a request when nothing is scripted. */
  answer(stream: Stream, request: DeltaDiscoveryRequest): void {
    this.#requested(stream, request);
  }

  #of(typeUrl: string): Map<string, ServedResource> {
    const resources = this.#resources.get(typeUrl);
    if (resources === undefined) throw new Error(`no such type: ${typeUrl}`);
    return resources;
  }

  #opened(stream: Stream): void {
    const number = ++this.#streamCount;
    this.metadata.push(stream.metadata);
    stream.on('error', () => this.#streams.delete(stream));
    stream.on('cancelled', () => this.#streams.delete(stream));
    stream.on('end', () => {
      this.#streams.delete(stream);
      stream.end();
    });
    if (this.refuse !== undefined) {
      stream.emit('error', this.refuse);
      return;
    }
    this.#streams.set(stream, new Map());
    stream.on('data', (bytes: Buffer) => {
      const request = fromBinary(DeltaDiscoveryRequestSchema, bytes);
      this.requests.push({ stream: number, request });
      if (this.script !== undefined) this.script(stream, request);
      else this.#requested(stream, request);
    });
  }

  #requested(stream: Stream, request: DeltaDiscoveryRequest): void {
    const watches = this.#streams.get(stream);
    if (watches === undefined) return;
    const { typeUrl, resourceNamesSubscribe: subscribe, resourceNamesUnsubscribe: unsubscribe } = request;
    const known = watches.get(typeUrl);
    if (request.errorDetail !== undefined) return;
    if (known !== undefined && request.responseNonce !== '' && request.responseNonce !== known.nonce) return;
    if (known === undefined) {
      const names = new Set([...subscribe, ...Object.keys(request.initialResourceVersions)]);
      for (const name of unsubscribe) names.delete(name);
      const wildcard = subscribe.length === 0 || names.delete('*');
      const watch: Watch = { wildcard, names, nonce: '' };
      watches.set(typeUrl, watch);
      const all = [...this.#of(typeUrl).keys()];
      const { ofNode = () => false } = this.#options;
      const wanted = wildcard ? all : [...all.filter(ofNode), ...names];
      const gone = Object.keys(request.initialResourceVersions);
      this.#send(stream, typeUrl, watch, [...new Set([...wanted, ...gone])], request.initialResourceVersions);
      return;
    }
    if (subscribe.length === 0 && unsubscribe.length === 0) return;
    for (const name of subscribe) known.names.add(name);
    for (const name of unsubscribe) known.names.delete(name);
    const everything = [...this.#of(typeUrl).keys(), ...subscribe];
    this.#send(stream, typeUrl, known, known.wildcard ? everything : subscribe);
  }

  #send(
    stream: Stream,
    typeUrl: string,
    watch: Watch,
    names: readonly string[],
    held: Readonly<Record<string, string>> = {},
  ): void {
    const system = `${new Date().toISOString()}/${++this.#pushes}`;
    const nonce = `${system}${randomUUID()}`;
    watch.nonce = nonce;
    const all = this.#of(typeUrl);
    const byAlias = Map.groupBy(
      [...all].flatMap(([name, { aliases = [] }]) => aliases.map((alias) => ({ alias, name }))),
      ({ alias }) => alias,
    );
    const sent = new Map<string, ServedResource>();
    const removed: string[] = [];
    for (const name of names) {
      const found = [name, ...(byAlias.get(name) ?? []).map(({ name: own }) => own)].filter((own) => all.has(own));
      if (found.length === 0) removed.push(name);
      for (const own of found) {
        const resource = all.get(own);
        if (resource === undefined) continue;
        const version = versionOf(typeUrl, resource);
        if (version === '' || held[own] !== version) sent.set(own, resource);
      }
    }
    const response = create(DeltaDiscoveryResponseSchema, {
      systemVersionInfo: system,
      typeUrl,
      nonce,
      removedResources: removed,
      resources: [...sent].map(([name, resource]) => ({
        name,
        version: versionOf(typeUrl, resource),
        aliases: watch.wildcard ? [] : [...(resource.aliases ?? [])],
        resource: { typeUrl: resource.typeUrl ?? typeUrl, value: resource.value },
      })),
    });
    stream.write(Buffer.from(toBinary(DeltaDiscoveryResponseSchema, response)));
  }
}

/** Lower-case hex without leading zeros, as istiod's; policies have none. */
function versionOf(typeUrl: string, { version, value }: ServedResource): string {
  if (version !== undefined) return version;
  if (typeUrl === authorizationType) return '';
  return createHash('sha256').update(value).digest('hex').slice(0, 16).replace(/^0+/, '');
}
