/**
 * resolv.conf(5): whom to ask about names that are not the mesh's, and, for a single workload, its search domains. Read at
 * start and again when it has changed, as it does on machines that move between networks.
 */
import { readFileSync, statSync } from 'node:fs';
import { canonicalIp, type SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

const dnsPort = 53;
/** As resolvers do: more servers, or domains, are not used. */
const mostServers = 3;
const mostDomains = 32;
const longestFileBytes = 64 * 1024;

export interface ResolverConfiguration {
  readonly servers: readonly SocketAddress[];
  /** Lower case, without a dot at the end. */
  readonly searchDomains: readonly string[];
}

export function parseResolvConf(text: string): ResolverConfiguration {
  const servers: SocketAddress[] = [];
  let searchDomains: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [word, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver') {
      const ip = canonicalIp(values[0] ?? '');
      if (ip !== undefined && servers.length < mostServers) servers.push({ ip, port: dnsPort });
    }
    // The last of them counts.
    if (word === 'search' || word === 'domain') {
      searchDomains = values.slice(0, word === 'search' ? mostDomains : 1).map(domainText);
    }
  }
  return { servers, searchDomains: searchDomains.filter((domain) => domain !== '') };
}

/** The file, looked at again at most every `everyMs`. Keeps what it had when it cannot be read. */
export class ResolvConf {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #everyMs: number;
  #current: ResolverConfiguration = { servers: [], searchDomains: [] };
  #lookedMs = Number.NEGATIVE_INFINITY;
  #stamp = '';

  constructor(path: string, clock: Clock, logger: Logger, everyMs = 10_000) {
    this.#path = path;
    this.#clock = clock;
    this.#logger = logger;
    this.#everyMs = everyMs;
  }

  /** Reads at once: a small local file. */
  get current(): ResolverConfiguration {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#lookedMs >= this.#everyMs) {
      this.#lookedMs = nowMs;
      this.#look();
    }
    return this.#current;
  }

  #look(): void {
    try {
      const { mtimeMs, size, ino } = statSync(this.#path);
      const stamp = `${mtimeMs}/${size}/${ino}`;
      if (stamp === this.#stamp) return;
      this.#stamp = stamp;
      if (size > longestFileBytes) throw new Error(`longer than ${longestFileBytes} bytes`);
      this.#current = parseResolvConf(readFileSync(this.#path, 'utf8'));
      if (this.#current.servers.length > 0) return;
      this.#logger.warn('no nameserver is named: names outside the mesh cannot be resolved', { file: this.#path });
    } catch (error) {
      if (this.#stamp === 'unreadable') return;
      this.#stamp = 'unreadable';
      this.#logger.warn('nameservers cannot be read, going on with those there were', {
        file: this.#path,
        servers: this.#current.servers.length,
        error: errorText(error),
      });
    }
  }
}

function domainText(domain: string): string {
  return domain.toLowerCase().replace(/\.$/, '');
}
