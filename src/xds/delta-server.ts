/**
 * Delta discovery served: the other end of `delta-client.ts`, for `ambit control`. Everything to everybody who asks, as
 * changes come; names one by one (XDS_ON_DEMAND) are not served.
 *
 * I1: per stream and type only the names that changed are kept until they can be sent, so a slow client holds a bounded
 *     list and always gets the latest of each.
 * I2: a refusal is logged and never answered by sending the same again.
 */
import { randomUUID } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from '../proto/gen/discovery_pb.js';
import { type RpcFailure, rpcFailure } from '../rpc/outcome.ts';
import type { RouteFactory } from '../rpc/server.ts';
import { type ServedStream, streamRoute } from '../rpc/stream-route.ts';
import { addressType, authorizationType, type ResourceType } from './resource-types.ts';
import type { ServedMesh } from './served-mesh.ts';

export interface DeltaServerOptions {
  readonly mesh: ServedMesh;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Why a caller may not ask; undefined: it may. */
  readonly admits: (stream: ServedStream) => string | undefined;
  /** At the same time. Default 4096. */
  readonly maxStreams?: number;
}

/** A route for `startRpcServer`. */
export function deltaRoute(options: DeltaServerOptions): RouteFactory {
  const { maxStreams = 4096 } = options;
  let streams = 0;
  return streamRoute(AggregatedDiscoveryService.method.deltaAggregatedResources, async (stream) => {
    const refused = options.admits(stream);
    if (refused !== undefined) return rpcFailure('UNAUTHENTICATED', refused);
    if (streams >= maxStreams) return rpcFailure('RESOURCE_EXHAUSTED', `${maxStreams} streams are open`);
    streams++;
    try {
      return await new Session(stream, options).run();
    } finally {
      streams--;
    }
  });
}

class Session {
  readonly #stream: ServedStream;
  readonly #options: DeltaServerOptions;
  /** Subscribed types, and of each the names to be sent. */
  readonly #dirty = new Map<ResourceType, Set<string>>();
  /** Types whose first answer is owed, even when there is nothing to say: the client waits for it. */
  readonly #owed = new Set<ResourceType>();
  #wake: (() => void) | undefined;
  #over = false;
  #responses = 0;

  constructor(stream: ServedStream, options: DeltaServerOptions) {
    this.#stream = stream;
    this.#options = options;
  }

  async run(): Promise<RpcFailure | undefined> {
    const { mesh } = this.#options;
    const stop = mesh.onChange((typeUrl, names) => this.#mark(typeUrl, names));
    const closing = rpcFailure('UNAVAILABLE', 'the control plane is shutting down');
    const stopClosing = mesh.onClose(() => this.#stream.end(closing));
    this.#stream.onGone(() => this.#finish());
    void this.#send();
    try {
      for await (const bytes of this.#stream.messages()) {
        const failure = this.#requested(bytes);
        if (failure !== undefined) return failure;
      }
      return undefined;
    } finally {
      stop();
      stopClosing();
      this.#finish();
    }
  }

  #requested(bytes: Uint8Array): RpcFailure | undefined {
    let request: DeltaDiscoveryRequest;
    try {
      request = fromBinary(DeltaDiscoveryRequestSchema, bytes);
    } catch (error) {
      return rpcFailure('INVALID_ARGUMENT', `not a request: ${errorText(error)}`);
    }
    const { typeUrl, errorDetail, responseNonce } = request;
    if (typeUrl !== addressType && typeUrl !== authorizationType) {
      return rpcFailure('INVALID_ARGUMENT', `${typeUrl}: no such type`);
    }
    if (errorDetail !== undefined) {
      const { peer } = this.#stream.caller;
      this.#options.logger.error('a client refused what it was sent', {
        peer,
        url: typeUrl,
        error: errorDetail.message,
      });
      return undefined;
    }
    if (request.resourceNamesSubscribe.length > 0 || request.resourceNamesUnsubscribe.length > 0) {
      return rpcFailure('UNIMPLEMENTED', 'names one by one (XDS_ON_DEMAND) are not served: subscribe to everything');
    }
    if (responseNonce !== '' || this.#dirty.has(typeUrl)) return undefined;
    const has = request.initialResourceVersions;
    const all = this.#options.mesh.resources(typeUrl);
    const changed = [...all].filter(([name, { version }]) => !Object.hasOwn(has, name) || has[name] !== version);
    const gone = Object.keys(has).filter((name) => !all.has(name));
    this.#dirty.set(typeUrl, new Set());
    this.#owed.add(typeUrl);
    this.#mark(typeUrl, [...changed.map(([name]) => name), ...gone]);
    return undefined;
  }

  #mark(typeUrl: ResourceType, names: readonly string[]): void {
    const dirty = this.#dirty.get(typeUrl);
    if (dirty === undefined) return;
    for (const name of names) dirty.add(name);
    this.#wake?.();
  }

  async #send(): Promise<void> {
    while (!this.#over) {
      const next = [...this.#dirty].find(([typeUrl, names]) => names.size > 0 || this.#owed.has(typeUrl));
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const [typeUrl, names] = next;
      this.#owed.delete(typeUrl);
      const response = this.#response(typeUrl, names);
      names.clear();
      await this.#stream.send(response);
    }
  }

  #response(typeUrl: ResourceType, names: ReadonlySet<string>): Uint8Array {
    const all = this.#options.mesh.resources(typeUrl);
    const systemVersionInfo = `${new Date(this.#options.clock.wallMs()).toISOString()}/${++this.#responses}`;
    const removedResources = [...names].filter((name) => !all.has(name));
    const header = create(DeltaDiscoveryResponseSchema, {
      systemVersionInfo,
      typeUrl,
      nonce: `${systemVersionInfo}${randomUUID()}`,
      removedResources,
    });
    const fields = [...names].flatMap((name) => all.get(name)?.field ?? []);
    // Messages that follow one another are one message with the fields of both.
    return Buffer.concat([toBinary(DeltaDiscoveryResponseSchema, header), ...fields]);
  }

  #finish(): void {
    this.#over = true;
    this.#wake?.();
  }
}
