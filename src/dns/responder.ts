/**
 * One query of one place from its bytes to the bytes of its answer: reads, decides, forwards, counts, logs. The servers
 * (`udp-server.ts`, `tcp-server.ts`) only carry bytes.
 *
 * I1: total and never rejects. I2: what the mesh knows is answered in the same turn; what waits is within the budget.
 */
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import type { Workload } from '../mesh/model.ts';
import type { PlaceBudget } from './budget.ts';
import { type DnsContext, type DnsDecision, decideDns } from './decision.ts';
import type { Forwarder, Transport } from './forwarder.ts';
import { codes, type DnsQuery, readQuery } from './message.ts';
import { type DnsMetrics, typeName } from './metrics.ts';
import { payloadLimit, writeAddresses, writeCode, writeRefusal, writeTruncated } from './reply.ts';

/** Undefined: none is sent. */
export type Reply = Uint8Array | undefined;

/** Over UDP, whatever more the client would take: larger datagrams come in fragments. */
const longestUdpAnswer = 4096;
const longestTcpAnswer = 0xffff;
/** Of a query, over either transport. */
export const longestQuery = 4096;

export interface ResponderOptions {
  readonly context: DnsContext;
  readonly forwarder: Forwarder;
  readonly budget: PlaceBudget;
  readonly metrics: DnsMetrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Whose queries these are; undefined while unknown. */
  readonly client: () => Workload | undefined;
  /** Waits, within a bound, for it to become known. Never rejects. */
  readonly awaitClient: () => Promise<Workload | undefined>;
}

export class Responder {
  readonly #options: ResponderOptions;

  constructor(options: ResponderOptions) {
    this.#options = options;
  }

  /** The reply, now or later. Never throws, never rejects. */
  handle(message: Uint8Array, transport: Transport): Reply | Promise<Reply> {
    const { metrics, budget, logger } = this.#options;
    try {
      if (!budget.takeQuery()) {
        metrics.refused('rate');
        return undefined;
      }
      const read = readQuery(message.length > longestQuery ? message.subarray(0, longestQuery) : message);
      if (read.kind !== 'query') {
        metrics.refused('malformed');
        logger.debug('not a query', { reason: read.reason });
        return read.kind === 'drop' ? undefined : writeRefusal(read.id, read.flags, read.code);
      }
      const client = this.#options.client();
      if (client !== undefined) return this.#answer(read.query, message, transport, client);
      return this.#within(read.query, transport, client, async () =>
        this.#answer(read.query, message, transport, await this.#options.awaitClient()),
      );
    } catch (error) {
      logger.error('a DNS query failed inside', { error: errorText(error) });
      return undefined;
    }
  }

  #answer(
    query: DnsQuery,
    message: Uint8Array,
    transport: Transport,
    client: Workload | undefined,
  ): Reply | Promise<Reply> {
    const { context, metrics, random } = this.#options;
    metrics.cells(client, query.type, transport).requests.value++;
    const decision = decideDns(query, client, context);
    switch (decision.kind) {
      case 'refuse':
        this.#log(query, client, decision.reason, 0);
        return writeCode(query, decision.code, false);
      case 'answer':
        this.#log(query, client, answerResult(decision), decision.addresses.length);
        return writeAddresses(query, decision, answerLimit(query, transport), random);
      case 'forward':
        return this.#within(query, transport, client, () => this.#forward(query, message, transport, client));
    }
  }

  async #forward(
    query: DnsQuery,
    message: Uint8Array,
    transport: Transport,
    client: Workload | undefined,
  ): Promise<Reply> {
    const { forwarder, metrics, clock } = this.#options;
    const cells = metrics.cells(client, query.type, transport);
    cells.upstreamRequests.value++;
    const startedMs = clock.nowMs();
    const forwarded = await forwarder.forward(message, transport);
    cells.upstreamSeconds.observe((clock.nowMs() - startedMs) / 1000);
    if (forwarded.kind === 'failed') {
      cells.upstreamFailures.value++;
      this.#log(query, client, `forwarding failed (${forwarded.reason})`, 0);
      return writeCode(query, codes.serverFailure, false);
    }
    const { answer } = forwarded;
    this.#log(query, client, 'forwarded', Buffer.from(answer.buffer, answer.byteOffset).readUInt16BE(6));
    return answer.length > answerLimit(query, transport) ? writeTruncated(query, answer) : answer;
  }

  /** Runs what has to wait, if there is room. */
  async #within(
    query: DnsQuery,
    transport: Transport,
    client: Workload | undefined,
    run: () => Reply | Promise<Reply>,
  ): Promise<Reply> {
    const { budget, metrics, logger } = this.#options;
    if (!budget.enter()) {
      metrics.refused('waiting');
      this.#log(query, client, `too many queries wait (${transport})`, 0);
      return writeCode(query, codes.serverFailure, false);
    }
    try {
      return await run();
    } catch (error) {
      logger.error('a DNS query failed inside', { error: errorText(error) });
      return undefined;
    } finally {
      budget.leave();
    }
  }

  /** ztunnel's query log. */
  #log(query: DnsQuery, client: Workload | undefined, result: string, endpoints: number): void {
    const { logger } = this.#options;
    if (!logger.enabled('debug')) return;
    logger.debug('query', {
      'src.workload': client?.name ?? 'unknown',
      'src.namespace': client?.namespace ?? 'unknown',
      query: typeName(query.type).toUpperCase(),
      domain: `${query.name.labels.join('.')}.`,
      result,
      endpoints,
    });
  }
}

function answerLimit(query: DnsQuery, transport: Transport): number {
  return transport === 'tcp' ? longestTcpAnswer : payloadLimit(query, longestUdpAnswer);
}

function answerResult({ addresses, reason }: Extract<DnsDecision, { kind: 'answer' }>): string {
  return addresses.length > 0 ? `success: ${reason}` : `no records: ${reason}`;
}
