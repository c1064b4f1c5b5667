/** Arbitrary valid messages of the workload API, as a control plane would send them. For property tests. */
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import * as authorization from '../../src/proto/gen/authorization_pb.js';
import * as workload from '../../src/proto/gen/workload_pb.js';

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
/** Few and often: what interning is for. */
const few = fc.constantFrom('', 'default', 'istio-system', 'node-1', 'größe', '名前');
const text = fc.oneof(few, label, fc.string({ unit: 'grapheme', maxLength: 12 }));
const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
/** Global unicast, so never an IPv4 address in IPv6 clothes. */
const ipv6 = fc.uint8Array({ minLength: 15, maxLength: 15 }).map((rest) => Uint8Array.of(0x20, ...rest));
const ip = fc.oneof(ipv4, ipv6);
const block = fc.oneof(
  fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })),
  fc.tuple(ipv6, fc.integer({ min: 0, max: 128 })),
);
const port = fc.integer({ min: 0, max: 65535 });
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const upTo = (maxLength: number) => ({ maxLength });

const gateway = fc
  .tuple(fc.oneof(fc.tuple(text, text), fc.tuple(text, ip)), port)
  .map(([[first, second], hboneMtlsPort]) =>
    create(workload.GatewayAddressSchema, {
      hboneMtlsPort,
      destination:
        typeof second === 'string'
          ? {
              case: 'hostname',
              value: create(workload.NamespacedHostnameSchema, { namespace: first, hostname: second }),
            }
          : { case: 'address', value: create(workload.NetworkAddressSchema, { network: first, address: second }) },
    }),
  );

const ports = fc.array(
  fc
    .record({ servicePort: port, targetPort: port, appProtocol: fc.integer({ min: 0, max: 5 }) })
    .map((fields) => create(workload.PortSchema, fields)),
  upTo(3),
);

const workloadMessage = fc
  .record({
    uid: fc.oneof(text, label).filter((uid) => uid !== ''),
    name: text,
    namespace: label,
    addresses: fc.array(ip, upTo(3)),
    hostname: text,
    network: text,
    tunnelProtocol: fc.integer({ min: 0, max: 1 }),
    trustDomain: fc.oneof(fc.constant(''), label),
    serviceAccount: fc.oneof(fc.constant(''), label),
    waypoint: optional(gateway),
    networkGateway: optional(gateway),
    node: text,
    canonicalName: text,
    canonicalRevision: text,
    workloadType: fc.integer({ min: 0, max: 3 }),
    workloadName: text,
    nativeTunnel: fc.boolean(),
    authorizationPolicies: fc.array(text, upTo(3)),
    status: fc.integer({ min: 0, max: 1 }),
    clusterId: text,
    services: fc.dictionary(
      fc.oneof(label, fc.constantFrom('a/b', '名/前')),
      ports.map((list) => create(workload.PortListSchema, { ports: list })),
      { maxKeys: 3 },
    ),
    applicationTunnel: optional(
      fc
        .record({ protocol: fc.integer({ min: 0, max: 1 }), port })
        .map((fields) => create(workload.ApplicationTunnelSchema, fields)),
    ),
    locality: optional(
      fc.record({ region: text, zone: text, subzone: text }).map((fields) => create(workload.LocalitySchema, fields)),
    ),
    networkMode: fc.integer({ min: 0, max: 1 }),
    capacity: optional(fc.integer({ min: 0, max: 2 ** 32 - 1 })),
  })
  .map((fields) =>
    create(workload.AddressSchema, {
      type: { case: 'workload', value: create(workload.WorkloadSchema, withoutUndefined(fields)) },
    }),
  );

const serviceMessage = fc
  .record({
    name: text,
    namespace: label,
    hostname: fc.oneof(label, fc.constant('ü.example')),
    addresses: fc.array(
      fc.oneof(
        fc.tuple(text, ip).map(([network, address]) => create(workload.NetworkAddressSchema, { network, address })),
        fc
          .tuple(text, block)
          .map(([network, [address, length]]) => create(workload.NetworkAddressSchema, { network, address, length })),
      ),
      upTo(3),
    ),
    ports,
    subjectAltNames: fc.array(
      fc.oneof(
        text,
        label.map((name) => `spiffe://td/ns/${name}/sa/${name}`),
      ),
      upTo(3),
    ),
    waypoint: optional(gateway),
    loadBalancing: optional(
      fc
        .record({
          routingPreference: fc.array(fc.integer({ min: 1, max: 6 }), upTo(4)),
          mode: fc.integer({ min: 0, max: 3 }),
          healthPolicy: fc.integer({ min: 0, max: 1 }),
        })
        .map((fields) => create(workload.LoadBalancingSchema, fields)),
    ),
    ipFamilies: fc.integer({ min: 0, max: 3 }),
    canonical: fc.boolean(),
    ingressUseWaypoint: fc.boolean(),
    weightedWaypoints: fc.array(
      fc
        .record({ destination: gateway, weight: fc.integer({ min: 0, max: 2 ** 32 - 1 }) })
        .map((fields) => create(workload.WeightedWaypointSchema, fields)),
      upTo(2),
    ),
    visibility: fc.integer({ min: 0, max: 1 }),
  })
  .map((fields) =>
    create(workload.AddressSchema, {
      type: { case: 'service', value: create(workload.ServiceSchema, withoutUndefined(fields)) },
    }),
  );

export const addressMessage: fc.Arbitrary<workload.Address> = fc.oneof(workloadMessage, serviceMessage);

const stringMatch = fc.tuple(fc.constantFrom('exact', 'prefix', 'suffix', 'presence'), text).map(([kind, value]) =>
  create(authorization.StringMatchSchema, {
    matchType: kind === 'presence' ? { case: kind, value: {} } : { case: kind, value },
  }),
);
const policyBlock = block.map(([address, length]) => create(authorization.AddressSchema, { address, length }));
const account = fc
  .record({ namespace: text, serviceAccount: text })
  .map((fields) => create(authorization.ServiceAccountMatchSchema, fields));

const match = fc
  .record(
    {
      namespaces: fc.array(stringMatch, upTo(2)),
      notNamespaces: fc.array(stringMatch, upTo(2)),
      principals: fc.array(stringMatch, upTo(2)),
      notPrincipals: fc.array(stringMatch, upTo(2)),
      sourceIps: fc.array(policyBlock, upTo(2)),
      notSourceIps: fc.array(policyBlock, upTo(2)),
      destinationIps: fc.array(policyBlock, upTo(2)),
      notDestinationIps: fc.array(policyBlock, upTo(2)),
      destinationPorts: fc.array(port, upTo(3)),
      notDestinationPorts: fc.array(port, upTo(3)),
      serviceAccounts: fc.array(account, upTo(2)),
      notServiceAccounts: fc.array(account, upTo(2)),
    },
    { requiredKeys: [] },
  )
  .map((fields) => create(authorization.MatchSchema, fields));

export const authorizationMessage: fc.Arbitrary<authorization.Authorization> = fc
  .record({
    name: label,
    namespace: label,
    scope: fc.integer({ min: 0, max: 2 }),
    action: fc.integer({ min: 0, max: 1 }),
    dryRun: fc.boolean(),
    rules: fc.array(
      fc
        .array(
          fc.array(match, upTo(3)).map((matches) => create(authorization.ClauseSchema, { matches })),
          upTo(3),
        )
        .map((clauses) => create(authorization.RuleSchema, { clauses })),
      upTo(3),
    ),
  })
  .map((fields) => create(authorization.AuthorizationSchema, fields));

/** A field that is undefined is a field that is absent, which exact optional types do not see. */
function withoutUndefined<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
