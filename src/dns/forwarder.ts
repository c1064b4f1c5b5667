/**
 * Asks upstream servers on behalf of one place: in turn, from sockets made there, within a bound. Queries pass as the
 * bytes they are, with an id of our own.
 *
 * I1: the same question is on its way once: who asks it meanwhile waits for that answer. So guessing gets no easier by
 *     asking often, and servers that ask back in a circle end in a wait instead of a storm.
 * I2: never rejects; nothing outlives `close`, and no socket is made after it (the namespace may be gone).
 */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import type { DatagramProfile } from '../net/datagrams.ts';
import { codeOf, isTruncated } from './answer.ts';
import { type Exchange, type ExchangeContext, exchangeTcp, exchangeUdp } from './exchange.ts';
import { codes, word } from './message.ts';

export type Transport = 'udp' | 'tcp';

export type Forwarded =
  /** With the asker's id. */
  { readonly kind: 'answered'; readonly answer: Uint8Array } | { readonly kind: 'failed'; readonly reason: string };

export interface ForwarderOptions {
  readonly servers: () => readonly SocketAddress[];
  readonly sockets: DatagramProfile;
  readonly clock: Clock;
  /** 0..65535, not to be guessed. */
  readonly randomId: () => number;
  /** For one server. */
  readonly timeoutMs: number;
  /** For all of them. */
  readonly totalMs: number;
}

/** A server that says so is not asked in vain only because it is first on the list. */
const nextServerCodes: ReadonlySet<number> = new Set([codes.serverFailure, codes.notImplemented, codes.refused]);

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #cancellation = new Cancellation();
  readonly #running = new Map<string, Promise<Forwarded>>();

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  /** Questions on their way. */
  get running(): number {
    return this.#running.size;
  }

  /** `transport`: how the asker came, which says whether a truncated answer helps. `message` has a whole header. */
  async forward(message: Uint8Array, transport: Transport): Promise<Forwarded> {
    const key = `${transport} ${Buffer.from(message.buffer, message.byteOffset + 2, message.length - 2).toString('latin1')}`;
    let running = this.#running.get(key);
    if (running === undefined) {
      running = this.#ask(message, transport).finally(() => this.#running.delete(key));
      this.#running.set(key, running);
    }
    const forwarded = await running;
    if (forwarded.kind === 'failed') return forwarded;
    return { kind: 'answered', answer: withId(forwarded.answer, word(message, 0)) };
  }

  /** Those on their way fail. */
  close(): void {
    this.#cancellation.cancel();
  }

  async #ask(message: Uint8Array, transport: Transport): Promise<Forwarded> {
    const { clock, servers, totalMs } = this.#options;
    const endMs = clock.nowMs() + totalMs;
    const reasons: string[] = [];
    let excuse: Uint8Array | undefined;
    for (const server of servers()) {
      const leftMs = endMs - clock.nowMs();
      if (leftMs <= 0 || this.#cancellation.cancelled) break;
      const exchange = await this.#askServer(message, server, transport, leftMs);
      if (exchange.kind === 'answered' && !nextServerCodes.has(codeOf(exchange.answer))) return exchange;
      if (exchange.kind === 'answered') excuse ??= exchange.answer;
      reasons.push(exchange.kind === 'failed' ? exchange.reason : `${formatSocketAddress(server)} refuses`);
    }
    if (excuse !== undefined) return { kind: 'answered', answer: excuse };
    return { kind: 'failed', reason: reasons.length === 0 ? 'no server to ask' : reasons.join('; ') };
  }

  async #askServer(
    message: Uint8Array,
    server: SocketAddress,
    transport: Transport,
    leftMs: number,
  ): Promise<Exchange> {
    const { sockets, clock, randomId, timeoutMs } = this.#options;
    const context: ExchangeContext = {
      sockets,
      clock,
      timeoutMs: Math.min(timeoutMs, leftMs),
      cancellation: this.#cancellation,
    };
    const first = await exchangeUdp(withId(message, randomId()), server, context);
    const overTcp = first.kind === 'failed' ? first.suspicious : transport === 'tcp' && isTruncated(first.answer);
    return overTcp ? await exchangeTcp(withId(message, randomId()), server, context) : first;
  }
}

function withId(message: Uint8Array, id: number): Uint8Array {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}
