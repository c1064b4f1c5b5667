/**
 * Addresses of names that endpoints are known by, asked for when a connection needs them (ztunnel.md §3.3): A and AAAA
 * together, one of the records at random, those of the client's family first.
 *
 * I1: bounded: names beyond the limit make the one used longest ago give way; one question a name is under way at a time,
 *     with a deadline.
 * I2: an answer is used for as long as its records say; no answer is remembered for a moment, so that a name that does not
 *     exist costs one question and not one for each connection.
 */
import { Resolver } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { canonicalIp, type IpFamily, ipFamily } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';

export interface AddressRecord {
  readonly address: string;
  /** Undefined: where it was found says nothing. */
  readonly ttlSeconds: number | undefined;
}

/** Where names are asked for. Rejects, or answers with no records, when there are none. */
export type NameSource = (hostname: string, family: IpFamily) => Promise<readonly AddressRecord[]>;

export interface NameResolverDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Default: the servers of resolv.conf, then the system's own look-up, which knows the hosts file. */
  readonly source?: NameSource;
  readonly limit?: number;
}

interface Known {
  readonly addresses: readonly string[];
  readonly untilMs: number;
}

const defaultLimit = 4096;
const deadlineMs = 5000;
/** Where no record says for how long; and the least and the most that a record may say. */
const unknownLifeMs = 30_000;
const leastLifeMs = 1000;
const mostLifeMs = 3_600_000;
const failureLifeMs = 2000;

export class NameResolver {
  readonly #dependencies: NameResolverDependencies;
  readonly #source: NameSource;
  readonly #limit: number;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<readonly string[]>>();

  constructor(dependencies: NameResolverDependencies) {
    this.#dependencies = dependencies;
    this.#source = dependencies.source ?? systemNames();
    this.#limit = dependencies.limit ?? defaultLimit;
  }

  /** Names that are remembered now. */
  get size(): number {
    return this.#known.size;
  }

  /** Never rejects. Undefined: the name has no address, or nobody answered in time. */
  async resolve(hostname: string, prefer: IpFamily): Promise<string | undefined> {
    const addresses = this.#remembered(hostname) ?? (await this.#ask(hostname));
    const alike = addresses.filter((address) => ipFamily(address) === prefer);
    const among = alike.length > 0 ? alike : addresses;
    return among[Math.floor(this.#dependencies.random.next() * among.length)];
  }

  #remembered(hostname: string): readonly string[] | undefined {
    const known = this.#known.get(hostname);
    if (known === undefined) return undefined;
    this.#known.delete(hostname);
    if (known.untilMs <= this.#dependencies.clock.nowMs()) return undefined;
    // Back at the end: the order is that of use.
    this.#known.set(hostname, known);
    return known.addresses;
  }

  #ask(hostname: string): Promise<readonly string[]> {
    const asking = this.#asking.get(hostname);
    if (asking !== undefined) return asking;
    // Beyond the limit a name is as good as unknown, until some of the questions are answered.
    if (this.#asking.size >= this.#limit) return Promise.resolve([]);
    const answer = this.#question(hostname).finally(() => this.#asking.delete(hostname));
    this.#asking.set(hostname, answer);
    return answer;
  }

  async #question(hostname: string): Promise<readonly string[]> {
    const records = await this.#inTime(hostname);
    const addresses = records.flatMap(({ address }) => canonicalIp(address) ?? []);
    const lives = records.map(({ ttlSeconds }) => (ttlSeconds === undefined ? unknownLifeMs : ttlSeconds * 1000));
    const lifeMs =
      addresses.length === 0 ? failureLifeMs : Math.min(mostLifeMs, Math.max(leastLifeMs, Math.min(...lives)));
    const [oldest] = this.#known.keys();
    if (this.#known.size >= this.#limit && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(hostname, { addresses, untilMs: this.#dependencies.clock.nowMs() + lifeMs });
    return addresses;
  }

  /** Both families at once; what one of them lacks the other may have. */
  #inTime(hostname: string): Promise<readonly AddressRecord[]> {
    const { clock, logger } = this.#dependencies;
    return new Promise((resolve) => {
      const timer = clock.after(deadlineMs, () => {
        logger.warn('a name was not resolved in time', { hostname, deadlineMs });
        resolve([]);
      });
      const questions = ([4, 6] as const).map((family) =>
        this.#source(hostname, family).catch((error: unknown): readonly AddressRecord[] => {
          logger.debug('a name was not resolved', { hostname, family, error: errorText(error) });
          return [];
        }),
      );
      void Promise.all(questions).then((answers) => {
        timer.cancel();
        resolve(answers.flat());
      });
    });
  }
}

/** The servers of resolv.conf alone. Costs no thread while an answer is waited for. */
export function serverNames(): NameSource {
  const resolver = new Resolver({ timeout: 2000, tries: 2 });
  return (hostname: string, family: IpFamily) =>
    new Promise<readonly AddressRecord[]>((resolve, reject) => {
      const answered = (
        error: Error | null,
        records: readonly { readonly address: string; readonly ttl: number }[],
      ) => {
        if (error === null) resolve(records.map(({ address, ttl }) => ({ address, ttlSeconds: ttl })));
        else reject(error);
      };
      if (family === 4) resolver.resolve4(hostname, { ttl: true }, answered);
      else resolver.resolve6(hostname, { ttl: true }, answered);
    });
}

/** The same, then the system's own look-up. */
export function systemNames(): NameSource {
  const ask = serverNames();
  return async (hostname, family) => {
    try {
      return await ask(hostname, family);
    } catch {
      // Names of the hosts file and of search domains, which say no time to live.
      const found = await lookup(hostname, { family, all: true });
      return found.map(({ address }) => ({ address, ttlSeconds: undefined }));
    }
  };
}
