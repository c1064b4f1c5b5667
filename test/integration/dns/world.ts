/** A DNS proxy on loopback for one client, with real sockets to real upstream servers. */
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import type { SocketAddress } from '../../../src/base/address.ts';
import { type Clock, systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { type DnsLimits, defaultDnsLimits } from '../../../src/dns/budget.ts';
import { DnsProxy, type RunningDns } from '../../../src/dns/proxy.ts';
import type { Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import { makeChange, makeService, makeWorkload } from '../../support/mesh-records.ts';

export interface DnsWorld {
  readonly mesh: MeshStore;
  readonly dns: RunningDns;
  readonly address: SocketAddress;
  /** Lines of the metrics page that begin with this. */
  metrics(name: string): Promise<readonly string[]>;
  client: Workload | undefined;
}

export interface DnsWorldOptions {
  readonly servers?: readonly SocketAddress[];
  readonly clock?: Clock;
  readonly limits?: Partial<DnsLimits>;
  readonly randomId?: () => number;
  readonly ips?: readonly string[];
  readonly port?: number;
  readonly awaitClient?: () => Promise<Workload | undefined>;
}

export const productpage = 'productpage.default.svc.cluster.local';

export async function startDnsWorld(t: Test, options: DnsWorldOptions = {}): Promise<DnsWorld> {
  const mesh = new MeshStore();
  const headless = makeService({ name: 'many' });
  const pods = Array.from({ length: 200 }, (_, index) =>
    makeWorkload({
      name: `many-${index}`,
      addresses: [`10.2.0.${index + 1}`],
      services: new Map([[headless.key, new Map([[80, 80]])]]),
    }),
  );
  const service = makeService({ name: 'productpage', addresses: [{ network: '', ip: '10.96.0.7' }] });
  mesh.apply(makeChange({ services: [service, headless], workloads: pods }));
  const registry = new CellRegistry();
  const limits = { ...defaultDnsLimits, ...options.limits };
  const proxy = new DnsProxy({
    mesh,
    rules: { clusterDomain: 'cluster.local', searchDomains: undefined, preferredNamespace: undefined, ipv6: true },
    listen: { ips: options.ips ?? ['127.0.0.1'], port: options.port ?? 0 },
    upstream: () => ({ servers: options.servers ?? [], searchDomains: [] }),
    clock: options.clock ?? systemClock,
    random: systemRandom,
    metrics: registry,
    logger: silentLogger,
    limits,
    ...(options.randomId === undefined ? {} : { randomId: options.randomId }),
  });
  const state: { client: Workload | undefined } = { client: makeWorkload({ name: 'sleep', canonicalName: 'sleep' }) };
  const dns = await proxy.start({
    name: 'default/sleep',
    namespace: undefined,
    mark: undefined,
    reusePort: false,
    client: () => state.client,
    awaitClient: options.awaitClient ?? (async () => state.client),
  });
  t.teardown(() => dns.destroy());
  const [address] = dns.addresses;
  if (address === undefined) throw new Error('it listens nowhere');
  return {
    mesh,
    dns,
    address,
    async metrics(name) {
      const body = await text(Readable.from(registry.render(false).body));
      return body.split('\n').filter((line) => line.startsWith(name));
    },
    get client() {
      return state.client;
    },
    set client(workload) {
      state.client = workload;
    },
  };
}
