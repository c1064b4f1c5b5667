/**
 * The mesh from a control plane, by delta discovery (docs/xds.md; ztunnel.md §6): one stream for all types, asked for
 * again whenever it ends. What was last in force goes on being so while there is no stream.
 *
 * I1: responses are worked off one at a time, and answered when all they say is in force.
 * I2: nothing the server says ends more than its stream.
 */
import { Backoff } from '../base/backoff.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import type { MeshStore } from '../mesh/store.ts';
import { AggregatedDiscoveryService } from '../proto/gen/discovery_pb.js';
import type { RpcByteStream, StreamEvent } from '../rpc/byte-stream.ts';
import type { RpcChannel } from '../rpc/channel.ts';
import { applyResponse, removeNames } from './apply-response.ts';
import { encodeAnswer, encodeFirstRequest, encodeSubscription } from './delta-request.ts';
import { type DeltaResponse, splitDeltaResponse } from './delta-response.ts';
import { DeltaType } from './delta-type.ts';
import { Interner } from './interner.ts';
import type { NodeIdentity } from './node-identity.ts';
import type { OnDemand } from './on-demand.ts';
import { decideReconnect, type StreamOutcome, soonMs } from './reconnect-decision.ts';
import { addressType, authorizationType, type ResourceType } from './resource-types.ts';
import type { XdsMetrics } from './xds-metrics.ts';

export interface DeltaClientOptions {
  /** The client's own from now on: closed with it. */
  readonly channel: RpcChannel;
  readonly node: NodeIdentity;
  /** Marked complete once all types were acknowledged. */
  readonly store: MeshStore;
  /** What is asked for; both unless told. */
  readonly types?: readonly ResourceType[] | undefined;
  readonly unreadablePolicy: 'deny' | 'skip';
  /** Addresses are subscribed to by name; `client.flushDemand` is its `onAsk`. */
  readonly onDemand?: OnDemand;
  readonly metrics: XdsMetrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

type Next =
  | { readonly kind: 'answered' }
  | { readonly kind: 'breach'; readonly reason: string }
  | { readonly kind: 'ended'; readonly event: Exclude<StreamEvent, { kind: 'message' }> };

/** How long a server may take to send again what has no versions, after its last response of that type. */
const confirmMs = 5000;
/** After more resources than these what they shared is not kept for those that follow, which are few: it is megabytes. */
const largeResponse = 1000;
const method = AggregatedDiscoveryService.method.deltaAggregatedResources;

export class DeltaClient {
  readonly #options: DeltaClientOptions;
  readonly #types: ReadonlyMap<string, Subscription>;
  readonly #interner = new Interner();
  readonly #backoff: Backoff;
  #stream: RpcByteStream | undefined;
  #wake: (() => void) | undefined;
  #closed = false;
  #running: Promise<void> | undefined;

  constructor(options: DeltaClientOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ initialMs: soonMs, maxMs: 15_000 }, options.random);
    const { types = [addressType, authorizationType] } = options;
    this.#types = new Map(types.map((typeUrl) => [typeUrl, new Subscription(typeUrl, options)]));
  }

  /** Connects, and goes on until it is closed. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends the stream. Resolves when nothing is under way any more; the store keeps its state. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stream?.cancel();
    this.#wake?.();
    this.#options.channel.close();
    await this.#running;
  }

  /** Sends what `onDemand` has been asked for. */
  flushDemand(): void {
    const request = this.#stream === undefined ? undefined : this.#options.onDemand?.takeRequest();
    if (request === undefined) return;
    void this.#stream?.send(encodeSubscription(addressType, request.subscribe, request.unsubscribe));
  }

  async #run(): Promise<void> {
    const { metrics, logger } = this.#options;
    while (!this.#closed) {
      const outcome = await this.#attempt();
      this.#stream = undefined;
      for (const type of this.#types.values()) type.stop();
      if (this.#closed) return;
      const { reason, wait, level, text } = decideReconnect(outcome);
      metrics.terminations[reason].value++;
      if (wait !== 'backoff') this.#backoff.reset();
      const delayMs = wait === 'none' ? 0 : wait === 'soon' ? soonMs : this.#backoff.nextMs();
      logger[level]('no stream from the control plane', { reason, error: text, retry: `${Math.round(delayMs)}ms` });
      await this.#pause(delayMs);
    }
  }

  /** From connecting to the end of the stream. */
  async #attempt(): Promise<StreamOutcome> {
    const { channel, logger, clock, metrics } = this.#options;
    const opened = await channel.openStream(method);
    if (opened.kind === 'error') return { kind: 'not-connected', failure: opened };
    const { stream } = opened;
    if (this.#closed) stream.cancel();
    logger.info('connected to the control plane');
    metrics.connected.value = 1;
    const startMs = clock.nowMs();
    let answered = false;
    try {
      for (const type of this.#types.values()) await type.open(stream);
      this.#stream = stream;
      this.flushDemand();
      for (;;) {
        const event = await this.#next(stream);
        if (event.kind === 'ended') return { ...event, answered, livedMs: clock.nowMs() - startMs };
        if (event.kind === 'breach') return event;
        answered = true;
      }
    } catch (error) {
      // A fault of ours, which ends this stream alone: what was not put in force is sent again on the next.
      for (const cause of error instanceof AggregateError ? error.errors : [error]) {
        logger.error('a response could not be applied', { error: errorText(cause), stack: (cause as Error).stack });
      }
      return { kind: 'breach', reason: 'internal error' };
    } finally {
      metrics.connected.value = 0;
      stream.cancel();
    }
  }

  /** One response, worked off and answered. Its bytes are not kept while the next is awaited. */
  async #next(stream: RpcByteStream): Promise<Next> {
    const event = await stream.next();
    if (event.kind !== 'message') return { kind: 'ended', event };
    const breach = await this.#received(stream, event.bytes);
    return breach === undefined ? { kind: 'answered' } : { kind: 'breach', reason: breach };
  }

  /** What the protocol forbids, if anything. */
  async #received(stream: RpcByteStream, bytes: Uint8Array): Promise<string | undefined> {
    const { store, metrics, logger, clock, unreadablePolicy } = this.#options;
    const response = splitDeltaResponse(bytes);
    if (response.kind === 'malformed') return `malformed ${response.reason}`;
    // Answered with an empty nonce it would be a new question, and the answer to that the same.
    if (response.nonce === '') return 'a response without a nonce';
    const { typeUrl, nonce } = response;
    const type = this.#types.get(typeUrl);
    if (type === undefined) {
      metrics.unknownTypes.value++;
      logger.warn('the control plane sent a type that was not asked for', { url: typeUrl });
      await stream.send(
        encodeAnswer(typeUrl, { kind: 'nack', nonce, reason: `${typeUrl}: this type was not asked for` }),
      );
      return undefined;
    }
    const { resourceCount: resources, removedCount: removed } = response;
    logger.debug('received', { url: typeUrl, resources, removed, bytes: bytes.length, nonce });
    const answer = await type.received(response, bytes.length, {
      store,
      interner: this.#interner,
      slices: { clock },
      unreadablePolicy,
    });
    if (answer.kind === 'nack') logger.error('a response was refused in part', { url: typeUrl, error: answer.reason });
    await stream.send(encodeAnswer(typeUrl, answer));
    if (!store.complete && [...this.#types.values()].every(({ acknowledged }) => acknowledged)) store.markComplete();
    return undefined;
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(delayMs, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

/** One type on whatever stream there is. */
class Subscription {
  readonly #typeUrl: ResourceType;
  readonly #options: DeltaClientOptions;
  readonly #type = new DeltaType();
  #confirm: Timer | undefined;

  constructor(typeUrl: ResourceType, options: DeltaClientOptions) {
    this.#typeUrl = typeUrl;
    this.#options = options;
  }

  get acknowledged(): boolean {
    return this.#type.acknowledged;
  }

  /** Begins on a new stream with the first request. */
  async open(stream: RpcByteStream): Promise<void> {
    const { node, clock } = this.#options;
    this.#type.begin();
    const onDemand = this.#typeUrl === addressType ? this.#options.onDemand : undefined;
    // Asked for and given up at once, the wildcard says that names will follow.
    const names = onDemand === undefined ? {} : { subscribe: ['*', ...onDemand.restart()], unsubscribe: ['*'] };
    const request = { typeUrl: this.#typeUrl, node, versions: this.#type.versions(), ...names };
    // Not awaited: it is with the connection, and the server may answer before it has read the next.
    void stream.send(await encodeFirstRequest(request, { clock }));
  }

  stop(): void {
    this.#confirm?.cancel();
  }

  async received(response: DeltaResponse, bytes: number, target: Parameters<typeof applyResponse>[3]) {
    const { metrics } = this.#options;
    const seen = metrics.type(this.#typeUrl);
    seen.messages.value++;
    seen.bytes.value += bytes;
    this.#confirm?.cancel();
    const onDemand = this.#typeUrl === addressType ? this.#options.onDemand : undefined;
    await applyResponse(response, this.#typeUrl, this.#type, target, onDemand);
    if (response.resourceCount > largeResponse) target.interner.forget();
    onDemand?.settle();
    const answer = this.#type.finish(response.nonce);
    if (answer.kind === 'nack') seen.refused.value++;
    seen.held.value = this.#type.size;
    if (this.#type.unconfirmed > 0) this.#confirm = this.#options.clock.after(confirmMs, () => this.#drop());
    return answer;
  }

  /** What was not sent again is gone. */
  #drop(): void {
    const { logger, store, metrics } = this.#options;
    const names = this.#type.dropUnconfirmed();
    logger.info('not sent again, so no longer in force', { url: this.#typeUrl, count: names.length });
    removeNames(this.#typeUrl, names, store);
    metrics.type(this.#typeUrl).held.value = this.#type.size;
  }
}
