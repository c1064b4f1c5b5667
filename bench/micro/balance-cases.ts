/** The choice of an endpoint at a waypoint: what is asked of a cluster for every request, change or no change. */
import type { Service } from '../../src/mesh/model.ts';
import type { LoadBalancerPolicy } from '../../src/route/destination.ts';
import { Cluster, type ClusterInputs } from '../../src/upstream/balance/cluster.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { Operation } from './measure.ts';
import { serviceAt, workloadAt } from './mesh-world.ts';
import { type MicroCase, sized } from './micro-case.ts';
import { seededRandom } from './seeded-random.ts';

const simple = (balancer: 'least-request' | 'round-robin'): LoadBalancerPolicy['choice'] => ({
  kind: 'simple',
  balancer,
});
const hashed = (table: Extract<LoadBalancerPolicy['choice'], { kind: 'hash' }>['table']) =>
  ({ kind: 'hash', key: { kind: 'source-ip' }, table }) as const;

export const balanceCases: readonly MicroCase[] = [
  ...sized('least-request', 'endpoints', { 10: 1500, 10000: 4000 }, (n) => choice(n, simple('least-request'))),
  ...sized('round-robin', 'endpoints', { 10: 1500, 10000: 4000 }, (n) => choice(n, simple('round-robin'))),
  ...sized('ring-hash', 'endpoints', { 10: 2000, 1000: 4000 }, (n) =>
    choice(n, hashed({ kind: 'ring', minimumSize: 1024 })),
  ),
  ...sized('maglev', 'endpoints', { 10: 2000, 1000: 4000 }, (n) => choice(n, hashed({ kind: 'maglev', size: 2039 }))),
];

function choice(endpoints: number, choice: LoadBalancerPolicy['choice']): Operation {
  const service: Service = serviceAt(1);
  const random = seededRandom(1);
  const cluster = new Cluster({
    clock: new FakeClock(),
    random,
    outliers: { ejected: () => {}, spared: () => {}, returned: () => {} },
    background: (work) => void work(),
  });
  const query = {
    service,
    endpoints: Array.from({ length: endpoints }, (_, i) => workloadAt(i, [service])),
    servicePort: 80,
    source: undefined,
    network: '',
    resolution: 'service',
    random,
  } as const;
  const loadBalancer: LoadBalancerPolicy = { choice, warmup: undefined, locality: undefined };
  const inputs = (): ClusterInputs => ({ query, subset: undefined, loadBalancer, outlierDetection: undefined });
  const tried: ReadonlySet<string> = new Set();
  return (i) => {
    cluster.follow(inputs());
    const chosen = cluster.choose({ hash: Math.imul(i, 0x9e3779b1) >>> 0, tried, destinationIp: '' });
    return chosen.kind === 'host' ? chosen.host.port : 0;
  };
}
