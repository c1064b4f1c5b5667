/**
 * An address of a host name for ourselves (SOCKS5), by the same decision and the same servers as a client's query: IPv4
 * first, then IPv6 where it is on. Counts against the place's budget like any query that waits.
 */
import { canonicalIp } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import type { Workload } from '../mesh/model.ts';
import { addressesIn } from './answer.ts';
import type { PlaceBudget } from './budget.ts';
import { type DnsContext, decideDns } from './decision.ts';
import type { Forwarder } from './forwarder.ts';
import { classInternet, headerBytes, readName, typeA, typeAaaa, writeName, writeQuery } from './message.ts';
import { pickShuffled } from './reply.ts';

export interface HostResolverOptions {
  readonly context: DnsContext;
  readonly forwarder: Forwarder;
  readonly budget: PlaceBudget;
  readonly random: Random;
  readonly client: () => Workload | undefined;
  readonly awaitClient: () => Promise<Workload | undefined>;
}

export class HostResolver {
  readonly #options: HostResolverOptions;

  constructor(options: HostResolverOptions) {
    this.#options = options;
  }

  /** Undefined: no such name, no address, no answer, or no room to wait. Never rejects. */
  async resolve(hostname: string): Promise<string | undefined> {
    const literal = canonicalIp(hostname);
    if (literal !== undefined) return literal;
    const name = writeName(hostname);
    const { budget, context } = this.#options;
    if (name === undefined || !budget.enter()) return undefined;
    try {
      const client = this.#options.client() ?? (await this.#options.awaitClient());
      const first = await this.#lookUp(name, typeA, client);
      if (first !== undefined || !context.rules.ipv6) return first;
      return await this.#lookUp(name, typeAaaa, client);
    } finally {
      budget.leave();
    }
  }

  async #lookUp(
    name: Uint8Array,
    type: typeof typeA | typeof typeAaaa,
    client: Workload | undefined,
  ): Promise<string | undefined> {
    const { context, forwarder, random } = this.#options;
    const message = writeQuery(0, name, type);
    const read = readName(message, headerBytes);
    if (read === undefined) return undefined;
    const decision = decideDns({ name: read, type, class: classInternet, edns: undefined }, client, context);
    if (decision.kind === 'refuse') return undefined;
    if (decision.kind === 'answer') return pickShuffled(decision.addresses, 1, random)[0];
    // As over TCP: an answer that is cut off is no help to us.
    const forwarded = await forwarder.forward(message, 'tcp');
    if (forwarded.kind === 'failed') return undefined;
    return pickShuffled(addressesIn(forwarded.answer, type), 1, random)[0];
  }
}
