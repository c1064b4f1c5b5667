/**
 * The DNS proxy: what all places share, and for each place its servers on UDP and TCP, its upstream sockets and its
 * budget. `ztunnel/` starts one beside the three listeners of a place.
 *
 * I1: a place's servers come up together or not at all; only a namespace without IPv6 does without its IPv6 address.
 * I2: an upstream server that is one of our own listeners is not asked.
 */
import { randomInt } from 'node:crypto';
import type { SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import type { Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { NetworkNamespace } from '../net/socket-spec.ts';
import type { DnsListen } from './addresses.ts';
import { DnsBudget, type DnsLimits, defaultDnsLimits } from './budget.ts';
import type { DnsContext, DnsRules } from './decision.ts';
import { Forwarder } from './forwarder.ts';
import { HeadlessServices } from './headless.ts';
import { DnsMetrics } from './metrics.ts';
import type { ResolverConfiguration } from './resolv-conf.ts';
import { HostResolver } from './resolve-host.ts';
import { Responder } from './responder.ts';
import { type RunningTcpServer, startTcpServer } from './tcp-server.ts';
import { type RunningUdpServer, startUdpServer } from './udp-server.ts';

const timeoutMs = 5000;
const totalMs = 15_000;

export interface DnsProxyOptions {
  readonly mesh: MeshView;
  readonly rules: DnsRules;
  readonly listen: DnsListen;
  /** Servers and, where `rules` has none, nothing else of it is used. */
  readonly upstream: () => ResolverConfiguration;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
  readonly limits?: DnsLimits;
  /** 0..65535, not to be guessed. */
  readonly randomId?: () => number;
}

/** Whose queries, and where its sockets are made. */
export interface DnsPlace {
  readonly name: string;
  readonly namespace: NetworkNamespace | undefined;
  readonly mark: number | undefined;
  readonly reusePort: boolean;
  readonly client: () => Workload | undefined;
  readonly awaitClient: () => Promise<Workload | undefined>;
}

export interface RunningDns {
  /** TCP and UDP share them. */
  readonly addresses: readonly SocketAddress[];
  /** An address of a name, as the place's queries would be answered; undefined: there is none. Never rejects. */
  resolve(hostname: string): Promise<string | undefined>;
  /** Stops listening once what was asked is answered. */
  close(): Promise<void>;
  /** Ends everything: no socket is made in the place's namespace from here on. */
  destroy(): void;
}

export class DnsProxy {
  readonly #options: DnsProxyOptions;
  readonly #context: DnsContext;
  readonly #budget: DnsBudget;
  readonly #metrics: DnsMetrics;

  constructor(options: DnsProxyOptions) {
    const { mesh, rules, metrics, limits } = options;
    this.#options = options;
    this.#context = { mesh, rules, headless: new HeadlessServices(mesh) };
    this.#budget = new DnsBudget(limits ?? defaultDnsLimits);
    this.#metrics = new DnsMetrics(metrics);
  }

  /** Rejects with an AmbitError, leaving nothing behind, when it cannot listen. */
  async start(place: DnsPlace): Promise<RunningDns> {
    const { listen, clock, random, logger, randomId = () => randomInt(0x1_0000) } = this.#options;
    const { namespace, mark, client, awaitClient } = place;
    const forwarder = new Forwarder({
      servers: () => this.#servers(),
      sockets: { namespace, mark },
      clock,
      randomId,
      timeoutMs,
      totalMs,
    });
    const budget = this.#budget.place(clock);
    const context = this.#context;
    const metrics = this.#metrics;
    const responder = new Responder({
      context,
      forwarder,
      budget,
      metrics,
      clock,
      random,
      logger,
      client,
      awaitClient,
    });
    const resolver = new HostResolver({ context, forwarder, budget, random, client, awaitClient });
    const servers = new Servers();
    try {
      for (const [index, ip] of listen.ips.entries()) {
        try {
          await this.#listen(servers, { ip, port: listen.port }, place, responder);
        } catch (error) {
          if (index === 0 || !isFamilyMissing(error)) throw error;
          logger.debug('no DNS on this address', { place: place.name, ip, reason: errorText(error) });
        }
      }
    } catch (error) {
      servers.destroy();
      forwarder.close();
      throw error;
    }
    return {
      addresses: servers.tcp.map((server) => server.address),
      resolve: (hostname) => resolver.resolve(hostname),
      async close() {
        await servers.close();
      },
      destroy() {
        forwarder.close();
        servers.destroy();
      },
    };
  }

  /** TCP first: where the kernel chooses the port, UDP takes the same. */
  async #listen(servers: Servers, address: SocketAddress, place: DnsPlace, responder: Responder): Promise<void> {
    const { clock } = this.#options;
    const { mark, namespace, reusePort } = place;
    const spec = { ...address, mark, namespace, reusePort };
    const tcp = await startTcpServer(
      { ...spec, transparent: false, redirected: false },
      responder,
      this.#budget.limits,
      clock,
    );
    try {
      servers.udp.push(await startUdpServer({ ...spec, port: tcp.address.port }, responder));
    } catch (error) {
      tcp.destroy();
      throw error;
    }
    servers.tcp.push(tcp);
  }

  #servers(): readonly SocketAddress[] {
    const { listen, upstream } = this.#options;
    return upstream().servers.filter(({ ip, port }) => port !== listen.port || !listen.ips.includes(ip));
  }
}

/** The namespace has no such address, or nothing of its family. */
function isFamilyMissing(error: unknown): boolean {
  const code = error instanceof AmbitError ? errorCode(error.cause) : undefined;
  return code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT';
}

class Servers {
  readonly udp: RunningUdpServer[] = [];
  readonly tcp: RunningTcpServer[] = [];

  async close(): Promise<void> {
    for (const server of this.tcp) server.close();
    await Promise.all(this.udp.map((server) => server.close()));
  }

  destroy(): void {
    for (const server of [...this.tcp, ...this.udp]) server.destroy();
  }
}
