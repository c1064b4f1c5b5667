/**
 * All addresses of the names that endpoints are known by, kept fresh for as long as they are used.
 *
 * I1: an answer is used for as long as its records say, within bounds. One that is used is asked for again when it ends, so
 *     that requests wait for a name's first answer alone.
 * I2: while nobody answers, the last good addresses stay in use, for a bounded time; a name that is said not to exist has
 *     none from then on.
 * I3: bounded: names beyond the limit make the one used longest ago give way, of those that nobody keeps if it is said which;
 *     one question a name is under way at a time, with a deadline, and no more questions than names.
 */
import { canonicalIp, ipFamily } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { NameSource } from '../net/name-resolver.ts';

export interface HostAddressTimes {
  /** One question, both families. */
  readonly deadlineMs: number;
  /** Least and most that an answer lives, and one without a time of its own. */
  readonly leastLifeMs: number;
  readonly mostLifeMs: number;
  readonly unknownLifeMs: number;
  /** Until a name is asked for again that had no answer. */
  readonly retryMs: number;
  /** How long addresses outlive their time while nobody answers. */
  readonly keepLastMs: number;
}

export const hostAddressTimes: HostAddressTimes = {
  deadlineMs: 5_000,
  leastLifeMs: 1_000,
  mostLifeMs: 300_000,
  unknownLifeMs: 30_000,
  retryMs: 5_000,
  keepLastMs: 3_600_000,
};

export interface HostAddressDependencies {
  readonly source: NameSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limit: number;
  /** Others are forgotten once they were answered, and `forget` says when one is no longer. Undefined: each may stay. */
  readonly isKept?: (hostname: string) => boolean;
  readonly times?: HostAddressTimes;
  /** Addresses a name no longer has. */
  readonly onGone?: (hostname: string) => void;
}

interface Host {
  /** The families taking turns, IPv6 first (RFC 8305 §4). */
  addresses: readonly string[];
  untilMs: number;
  /** Last time that there was an answer. */
  answeredMs: number;
  used: boolean;
  failing: boolean;
  asking: Promise<void> | undefined;
  timer: Timer | undefined;
}

type Answer = { readonly kind: 'addresses'; readonly addresses: readonly string[]; readonly lifeMs: number } | 'failed';

export class HostAddresses {
  readonly #dependencies: HostAddressDependencies;
  readonly #times: HostAddressTimes;
  readonly #hosts = new Map<string, Host>();
  #closed = false;

  constructor(dependencies: HostAddressDependencies) {
    this.#dependencies = dependencies;
    this.#times = dependencies.times ?? hostAddressTimes;
  }

  /** Names that are remembered now. */
  get size(): number {
    return this.#hosts.size;
  }

  /** Never rejects. Empty: the name has no address, or nobody answered in time. */
  async resolve(hostname: string): Promise<readonly string[]> {
    const host = this.#use(hostname);
    host.used = true;
    if (this.#dependencies.clock.nowMs() >= host.untilMs) await this.#ask(hostname, host);
    return host.addresses;
  }

  /** Nothing, where it is not known. */
  forget(hostname: string | undefined): void {
    if (hostname === undefined) return;
    this.#hosts.get(hostname)?.timer?.cancel();
    this.#hosts.delete(hostname);
  }

  close(): void {
    this.#closed = true;
    for (const host of this.#hosts.values()) host.timer?.cancel();
    this.#hosts.clear();
  }

  #use(hostname: string): Host {
    const known = this.#hosts.get(hostname);
    if (known !== undefined) {
      // Back at the end: the order is that of use.
      this.#hosts.delete(hostname);
      this.#hosts.set(hostname, known);
      return known;
    }
    if (this.#hosts.size >= this.#dependencies.limit) this.forget(this.#leastNeeded());
    const host: Host = {
      addresses: [],
      untilMs: Number.NEGATIVE_INFINITY,
      answeredMs: Number.NEGATIVE_INFINITY,
      used: true,
      failing: false,
      asking: undefined,
      timer: undefined,
    };
    this.#hosts.set(hostname, host);
    return host;
  }

  #leastNeeded(): string | undefined {
    const { isKept } = this.#dependencies;
    if (isKept !== undefined) for (const hostname of this.#hosts.keys()) if (!isKept(hostname)) return hostname;
    const [oldest] = this.#hosts.keys();
    return oldest;
  }

  #ask(hostname: string, host: Host): Promise<void> {
    host.asking ??= this.#question(hostname).then((answer) => {
      host.asking = undefined;
      this.#answered(hostname, host, answer);
    });
    return host.asking;
  }

  #answered(hostname: string, host: Host, answer: Answer): void {
    const { clock, logger, onGone } = this.#dependencies;
    const now = clock.nowMs();
    const before = host.addresses;
    if (answer === 'failed') {
      host.untilMs = now + this.#times.retryMs;
      const stale = now - host.answeredMs > this.#times.keepLastMs;
      if (stale) host.addresses = [];
      if (!host.failing) {
        const kept = host.addresses.length > 0;
        logger.warn('a name is not resolved', { hostname, using: kept ? 'the last addresses' : 'nothing' });
      }
      host.failing = true;
    } else {
      host.untilMs = now + answer.lifeMs;
      host.answeredMs = now;
      host.addresses = answer.addresses;
      if (host.failing) logger.info('a name is resolved again', { hostname });
      host.failing = false;
    }
    if (before.some((address) => !host.addresses.includes(address))) onGone?.(hostname);
    if (this.#closed || this.#hosts.get(hostname) !== host) return;
    if (this.#dependencies.isKept?.(hostname) === false) {
      this.forget(hostname);
      return;
    }
    host.used = false;
    host.timer?.cancel();
    host.timer = clock.after(host.untilMs - now, () => {
      if (host.used) void this.#ask(hostname, host);
    });
  }

  /** Both families at once; what one of them lacks the other may have. */
  #question(hostname: string): Promise<Answer> {
    const { clock, logger, source } = this.#dependencies;
    const { deadlineMs, leastLifeMs, mostLifeMs, unknownLifeMs, retryMs } = this.#times;
    return new Promise((resolve) => {
      const timer = clock.after(deadlineMs, () => resolve('failed'));
      const questions = ([6, 4] as const).map((family) =>
        source(hostname, family).catch((error: unknown) => {
          const code = errorCode(error) ?? '';
          logger.debug('a name was not resolved', { hostname, family, error: errorText(error) });
          return saysNothing.has(code) ? ([] as const) : undefined;
        }),
      );
      void Promise.all(questions).then((answers) => {
        timer.cancel();
        const records = answers.flatMap((answer) => answer ?? []);
        const addresses = takingTurns(records.flatMap(({ address }) => canonicalIp(address) ?? []));
        if (addresses.length === 0) {
          const absent = answers.every((answer) => answer !== undefined);
          resolve(absent ? { kind: 'addresses', addresses, lifeMs: retryMs } : 'failed');
          return;
        }
        const lives = records.map(({ ttlSeconds }) => (ttlSeconds === undefined ? unknownLifeMs : ttlSeconds * 1000));
        const lifeMs = Math.min(mostLifeMs, Math.max(leastLifeMs, Math.min(...lives)));
        resolve({ kind: 'addresses', addresses, lifeMs });
      });
    });
  }
}

/** Codes of an answer that says: there is no such name, or it has no address of the family. */
const saysNothing: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA']);
/** Addresses of one name that are kept. */
const mostAddresses = 64;

function takingTurns(addresses: readonly string[]): readonly string[] {
  const unique = [...new Set(addresses)];
  const six = unique.filter((address) => ipFamily(address) === 6);
  const four = unique.filter((address) => ipFamily(address) === 4);
  const longest = Math.max(six.length, four.length);
  return Array.from({ length: longest }, (_, i) => [six[i], four[i]])
    .flat()
    .filter((address) => address !== undefined)
    .slice(0, mostAddresses);
}
