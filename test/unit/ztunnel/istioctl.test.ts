/**
 * `/config_dump` as `istioctl ztunnel-config` decodes it: its Go structs written as schemas. Go's decoder ignores unknown
 * keys and takes null for nothing, but a value of another type fails the whole command.
 */
import t from 'tap';
import * as z from 'zod';
import { MeshStore } from '../../../src/mesh/store.ts';
import { configDump, type DumpSources } from '../../../src/ztunnel/config-dump.ts';
import { ConnectionRegistry } from '../../../src/ztunnel/connection-registry.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makeMatch, makePolicy, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { TestCa, TestSecretStore } from '../../support/test-ca.ts';
import { makeTestHop } from './test-hop.ts';

const text = z.string().nullish();
const uint16 = z.number().int().min(0).max(65_535);
const list = <S extends z.ZodType>(of: S) => z.array(of).nullish();
const ports = z.record(z.string().regex(/^\d{1,5}$/), uint16);
const gateway = z.object({ destination: z.string() }).nullish();
const stringMatch = z.object({ Exact: text, Suffix: text, Prefix: text, Presence: z.unknown().optional() });
const account = z.object({ namespace: z.string(), serviceAccount: z.string() });
const match = z.object({
  namespaces: list(stringMatch),
  notNamespaces: list(stringMatch),
  principals: list(stringMatch),
  notPrincipals: list(stringMatch),
  sourceIps: list(z.string()),
  notSourceIps: list(z.string()),
  destinationIps: list(z.string()),
  notDestinationIps: list(z.string()),
  destinationPorts: list(uint16),
  notDestinationPorts: list(uint16),
  serviceAccounts: list(account),
  notServiceAccounts: list(account),
});
const connection = z.object({ src: z.string(), originalDst: z.string(), actualDst: z.string() });
const dumpSchema = z.object({
  workloads: z.array(
    z.object({
      uid: z.string(),
      workloadIps: z.array(z.string()),
      waypoint: gateway,
      networkGateway: gateway,
      protocol: z.enum(['HBONE', 'TCP']),
      name: z.string(),
      namespace: z.string(),
      serviceAccount: z.string(),
      workloadName: z.string(),
      workloadType: z.string(),
      canonicalName: z.string(),
      canonicalRevision: z.string(),
      clusterId: z.string(),
      trustDomain: text,
      locality: z.object({ region: text, zone: text, subzone: text }).nullish(),
      node: z.string(),
      network: text,
      status: z.enum(['Healthy', 'Unhealthy']),
      hostname: z.string(),
      applicationTunnel: z.object({ protocol: z.string(), port: uint16.nullish() }).nullish(),
      authorizationPolicies: list(z.string()),
    }),
  ),
  services: z.array(
    z.object({
      name: z.string(),
      namespace: z.string(),
      hostname: z.string(),
      vips: z.array(z.string().regex(/^[^/]*\/./, 'network/address')),
      ports: z.record(z.string(), z.number().int()),
      loadBalancer: z
        .object({ mode: z.string(), routingPreferences: z.array(z.string()), healthPolicy: z.string() })
        .nullish(),
      waypoint: gateway,
      endpoints: z.record(
        z.string(),
        z.object({ workloadUid: z.string(), service: z.string(), address: text, port: ports }),
      ),
      subjectAltNames: list(z.string()),
      ipFamilies: text,
    }),
  ),
  policies: z.array(
    z.object({
      name: z.string(),
      namespace: z.string(),
      scope: z.enum(['Global', 'Namespace', 'WorkloadSelector']),
      action: z.enum(['Allow', 'Deny']),
      rules: z.array(z.array(z.array(match))),
    }),
  ),
  certificates: z.array(
    z.object({
      identity: z.string(),
      state: z.string(),
      certChain: z.array(
        z.object({
          pem: z.base64(),
          // istioctl reads it as a decimal number of any size, and both times as RFC 3339.
          serialNumber: z.string().regex(/^\d+$/),
          validFrom: z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
          expirationTime: z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
        }),
      ),
    }),
  ),
  workloadState: z.record(
    z.string(),
    z.object({
      state: z.enum(['Up', 'Pending']),
      connections: z.object({ inbound: z.array(connection), outbound: z.array(connection) }),
      info: z.object({
        name: z.string(),
        namespace: z.string(),
        trustDomain: z.string(),
        serviceAccount: z.string(),
      }),
    }),
  ),
  stagedServices: z.object({}),
  staticConfig: z.object({}),
  version: z.object({ version: z.string() }),
  config: z.record(z.string(), z.unknown()),
});

const service = makeService({
  name: 'web',
  addresses: [{ network: 'net', ip: '10.96.0.1' }],
  waypoint: { kind: 'hostname', service: 'default/waypoint.default.svc.cluster.local', hbonePort: 15008 },
  loadBalancing: { preferences: ['network', 'zone'], mode: 'failover', allowUnhealthy: true },
  subjectAltNames: ['spiffe://cluster.local/ns/default/sa/web' as never],
});
const workload = makeWorkload({
  name: 'web-1',
  addresses: ['10.0.0.1', 'fd00::1'],
  network: 'net',
  locality: { region: 'r', zone: 'z', subzone: '' },
  services: new Map([[service.key, new Map([[80, 8080]])]]),
  applicationTunnel: { protocol: 'proxy', port: 15088 },
  authorizationPolicies: ['default/p'],
  waypoint: { kind: 'address', network: 'net', ip: '10.0.0.9', hbonePort: 15008 },
  networkGateway: { kind: 'address', network: 'other', ip: '10.0.0.8', hbonePort: 15008 },
});
const policy = makePolicy({
  name: 'p',
  rules: [
    [
      [
        makeMatch({
          principals: [
            { kind: 'exact', value: 'a' },
            { kind: 'prefix', value: 'b' },
            { kind: 'suffix', value: 'c' },
          ],
          notNamespaces: [{ kind: 'presence' }],
          serviceAccounts: [{ namespace: 'n', serviceAccount: 's' }],
          destinationPorts: [80],
        }),
      ],
      [],
    ],
  ],
});

async function sources(change: Parameters<typeof makeChange>[0]): Promise<DumpSources> {
  const mesh = new MeshStore();
  mesh.apply(makeChange(change));
  const ca = await TestCa.create();
  const registry = new ConnectionRegistry(mesh, new FakeClock());
  for (const direction of ['inbound', 'outbound'] as const) {
    registry.add({
      hop: makeTestHop(direction),
      join: { counts: { toUpstream: 0, toDownstream: 0 }, heldBytes: 0, stop: () => {} },
      workload,
      originalDestination: { ip: '10.0.0.1', port: 8080 },
      protocol: 'HBONE',
    });
  }
  const info = { name: 'web-1', namespace: 'default', serviceAccount: 'default' };
  return {
    mesh,
    secrets: new TestSecretStore([await ca.issue(workload.identity)]),
    registry,
    budgets: { dump: () => ({}) },
    pods: () => [
      { uid: 'pod-1', state: 'Up', info, workload },
      { uid: 'pod-2', state: 'Pending', info, workload: undefined },
    ],
    version: 'test',
    config: { node: 'node-a' },
  };
}

t.test('every part of the dump decodes as istioctl decodes it', async (t) => {
  const dumped = [...configDump(await sources({ workloads: [workload], services: [service], policies: [policy] }))];
  const dump = dumpSchema.parse(JSON.parse(dumped.join('')));
  t.equal(dump.workloads[0]?.waypoint?.destination, 'net/10.0.0.9');
  t.equal(dump.services[0]?.waypoint?.destination, 'default/waypoint.default.svc.cluster.local');
  t.strictSame(dump.services[0]?.endpoints[workload.uid]?.port, { 80: 8080 });
  t.strictSame(Object.keys(dump.workloadState), ['pod-1', 'pod-2']);
  t.equal(dump.workloadState['pod-1']?.connections.inbound.length, 1);
  t.equal(dump.workloadState['pod-1']?.connections.outbound.length, 1);
  t.equal(dump.certificates[0]?.certChain.length, 1);
  t.notMatch(dumped.join(''), /PRIVATE KEY/);
});

t.test('an empty mesh decodes too', async (t) => {
  const dumped = [...configDump({ ...(await sources({})), pods: () => [] })].join('');
  t.strictSame(dumpSchema.parse(JSON.parse(dumped)).workloads, []);
});

t.test('a large mesh is dumped in small pieces, also one service with very many endpoints', async (t) => {
  const workloads = Array.from({ length: 5000 }, (_, i) =>
    makeWorkload({ ...workload, uid: `uid-${i}`, name: `web-${i}`, addresses: [`10.1.${i >> 8}.${i & 255}`] }),
  );
  let longest = 0;
  let whole = '';
  for (const piece of configDump(await sources({ workloads, services: [service] }))) {
    longest = Math.max(longest, piece.length);
    whole += piece;
  }
  t.ok(longest < 8192, `the longest piece has ${longest} characters`);
  const dump = dumpSchema.parse(JSON.parse(whole));
  t.equal(dump.workloads.length, 5000);
  t.equal(Object.keys(dump.services[0]?.endpoints ?? {}).length, 5000);
});
