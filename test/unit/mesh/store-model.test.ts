/** The store against a look at every record, over any sequence of changes. */
import fc from 'fast-check';
import t from 'tap';
import { type Cidr, cidrContains, ipToBytes, parseCidr } from '../../../src/base/address.ts';
import type { L4Policy, MeshChange, Service, Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import type { MeshView } from '../../../src/mesh/view.ts';
import { makePolicy, makeService, makeWorkload } from '../../support/mesh-records.ts';

const names = ['a', 'b', 'c', 'd'];
const namespaces = ['x', 'y'];
const networks = ['', 'far'];
const nodes = ['n1', 'n2', ''];
const ips = ['10.0.0.1', '10.0.0.2', 'fd00::1'];
const uids = names.flatMap((name) => [`c//Pod/x/${name}`, `c/networking.istio.io/WorkloadEntry/x/${name}`]);
const serviceKeys = namespaces.flatMap((namespace) => names.map((name) => `${namespace}/${hostOf(name, namespace)}`));
const policyKeys = namespaces.flatMap((namespace) => names.map((name) => `${namespace}/${name}`));
const blocks = ['10.0.0.0/8', '10.0.0.0/30', '10.0.0.2/32'].map(cidr);

const any = <T>(values: readonly T[]) => fc.constantFrom(...values);
const some = <T>(values: readonly T[]) => fc.subarray([...values], { maxLength: 2 });

const workload: fc.Arbitrary<Workload> = fc
  .record({
    uid: any(uids),
    name: any(names),
    namespace: any(namespaces),
    network: any(networks),
    addresses: some(ips),
    hostname: any(['', 'host']),
    serviceAccount: any(['default', 'other']),
    tunnelProtocol: any(['none', 'hbone'] as const),
    networkMode: any(['standard', 'standard', 'host'] as const),
    node: any(nodes),
    services: some(serviceKeys).map((keys) => new Map(keys.map((key) => [key, new Map([[80, 8080]])]))),
    authorizationPolicies: some(policyKeys),
  })
  .map(makeWorkload);

const service: fc.Arbitrary<Service> = fc
  .record({
    name: any(names),
    namespace: any(namespaces),
    addresses: some(ips).map((list) => list.map((ip) => ({ network: '', ip }))),
    cidrs: some(blocks).map((list) => list.map((block) => ({ network: '', cidr: block }))),
    canonical: fc.boolean(),
    visibility: any(['public', 'namespace'] as const),
  })
  .map((fields) => makeService({ ...fields, hostname: hostOf(fields.name, fields.namespace) }));

const policy: fc.Arbitrary<L4Policy> = fc
  .record({
    name: any(names),
    namespace: any(namespaces),
    scope: any(['global', 'namespace', 'workload'] as const),
    dryRun: fc.boolean(),
  })
  .map(makePolicy);

const change: fc.Arbitrary<MeshChange> = fc.record({
  workloads: fc.array(workload, { maxLength: 3 }),
  services: fc.array(service, { maxLength: 2 }),
  policies: fc.array(policy, { maxLength: 2 }),
  removedWorkloads: some(uids),
  removedServices: some(serviceKeys),
  removedPolicies: some(policyKeys),
});

/** Everything by looking at everything. */
class PlainMesh {
  readonly workloads = new Map<string, Workload>();
  readonly services = new Map<string, Service>();
  readonly policies = new Map<string, L4Policy>();

  apply(of: MeshChange): void {
    for (const uid of of.removedWorkloads) this.workloads.delete(uid);
    for (const key of of.removedServices) this.services.delete(key);
    for (const key of of.removedPolicies) this.policies.delete(key);
    for (const each of of.workloads) this.workloads.set(each.uid, each);
    for (const each of of.services) this.services.set(each.key, each);
    for (const each of of.policies) this.policies.set(each.key, each);
  }

  where(holds: (workload: Workload) => boolean): Workload[] {
    return [...this.workloads.values()].filter(holds);
  }

  workloadByAddress(network: string, ip: string): Workload | undefined {
    const claims = this.where(
      (each) => each.networkMode !== 'host' && each.network === network && each.addresses.includes(ip),
    );
    const rank = ({ uid, tunnelProtocol }: Workload) =>
      `${uid.includes('/Pod/') ? 0 : 1}${tunnelProtocol === 'hbone' ? 0 : 1}${uid}`;
    return claims.sort((a, b) => (rank(a) < rank(b) ? -1 : 1))[0];
  }

  serviceByAddress(ip: string, from: string): Service | undefined {
    const visible = [...this.services.values()].filter(
      (each) => each.visibility === 'public' || each.namespace === from,
    );
    const best = (list: Service[]) => {
      const rank = (each: Service) => `${each.namespace === from ? 0 : each.canonical ? 1 : 2}${each.key}`;
      return list.sort((a, b) => (rank(a) < rank(b) ? -1 : 1))[0];
    };
    const byVip = best(visible.filter((each) => each.addresses.some((address) => address.ip === ip)));
    if (byVip !== undefined || ip.includes(':')) return byVip;
    const inBlocks = [...blocks]
      .sort((a, b) => b.prefix - a.prefix)
      .filter((block) => holds(block, ip))
      .map((block) => visible.filter((each) => each.cidrs.some((own) => own.cidr === block)));
    const own = inBlocks.map((list) => list.filter((each) => each.namespace === from)).find((list) => list.length > 0);
    // Of several of the own namespace in one block, any.
    return own?.[0] ?? inBlocks.map(best).find((found) => found !== undefined);
  }

  inForce({ namespace, authorizationPolicies }: Workload): readonly L4Policy[] {
    return [...this.policies.values()].filter(
      ({ key, scope, namespace: of }) =>
        scope === 'global' || (scope === 'namespace' && of === namespace) || authorizationPolicies.includes(key),
    );
  }
}

/** What the two disagree on. */
function differences(store: MeshView, plain: PlainMesh): readonly string[] {
  const found: string[] = [];
  const agree = (what: string, holds: boolean) => holds || found.push(what);
  const alike = (what: string, list: Iterable<unknown>, expected: readonly unknown[]) => {
    const all = [...list];
    agree(what, all.length === expected.length && new Set([...all, ...expected]).size === expected.length);
  };
  const oneOf = (what: string, record: Workload | undefined, expected: readonly Workload[]) =>
    agree(what, record === undefined ? expected.length === 0 : expected.includes(record));
  alike('workloads', store.workloads(), [...plain.workloads.values()]);
  alike('services', store.services(), [...plain.services.values()]);
  alike('policies', store.policies(), [...plain.policies.values()]);
  for (const ip of ips) {
    for (const network of networks) {
      agree(`${network}/${ip}`, store.workloadByAddress(network, ip) === plain.workloadByAddress(network, ip));
    }
    for (const from of namespaces) {
      const [record, expected] = [store.serviceByAddress('', ip, from), plain.serviceByAddress(ip, from)];
      agree(`${ip} from ${from}`, record === expected || (record?.namespace === from && expected?.namespace === from));
    }
  }
  for (const key of serviceKeys) {
    alike(
      `endpoints of ${key}`,
      store.endpoints(key),
      plain.where((each) => each.services.has(key)),
    );
  }
  for (const node of nodes) {
    const here = plain.where((each) => each.node === node);
    alike(`node ${node}`, store.workloadsOnNode(node), here);
    for (const name of names) {
      const bear = here.filter(
        (each) => each.name === name && each.namespace === 'x' && each.serviceAccount === 'other',
      );
      oneOf(`x/${name} on ${node}`, store.workloadByName('x', name, 'other', node), bear);
    }
  }
  for (const namespace of namespaces) {
    const known = plain.where((each) => each.namespace === namespace && each.hostname === 'host');
    oneOf(`${namespace}/host`, store.workloadByHostname(`${namespace}/host`), known);
  }
  for (const each of plain.workloads.values()) {
    const { policies, missing } = store.policiesFor(each);
    const unknown = each.authorizationPolicies.filter((key) => !plain.policies.has(key));
    alike(`policies of ${each.uid}`, policies, plain.inForce(each));
    alike(`missing of ${each.uid}`, missing, unknown);
  }
  return found;
}

t.test('every question is answered as by a look at every record', async (t) => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
      const store = new MeshStore();
      const plain = new PlainMesh();
      for (const each of changes) {
        // Records equal to those before are not taken, so the very objects are known from what really changed.
        plain.apply(store.apply(each));
        for (const record of lastOfEach(each.workloads)) t.strictSame(store.workload(record.uid), record);
        t.strictSame(differences(store, plain), []);
      }
    }),
    { numRuns: 200 },
  );
});

function lastOfEach(workloads: readonly Workload[]): Iterable<Workload> {
  return new Map(workloads.map((each) => [each.uid, each])).values();
}

function hostOf(name: string, namespace: string): string {
  return `${name}.${namespace}.svc.cluster.local`;
}

function holds(block: Cidr, ip: string): boolean {
  return cidrContains(block, ipToBytes(ip));
}

function cidr(text: string): Cidr {
  const block = parseCidr(text);
  if (block === undefined) throw new Error(`not a block: ${text}`);
  return block;
}
