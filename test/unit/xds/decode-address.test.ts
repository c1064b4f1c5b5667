/** Workloads and services from the wire: equal to what the generated decoder says, with reasons for what is refused. */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import t from 'tap';
import type { Service, Workload } from '../../../src/mesh/model.ts';
import * as messages from '../../../src/proto/gen/workload_pb.js';
import { decodeAddress } from '../../../src/xds/decode-address.ts';
import { Interner } from '../../../src/xds/interner.ts';
import { addressMessage } from '../../support/xds-messages.ts';
import { oracleAddress } from '../../support/xds-oracle.ts';

type WorkloadFields = MessageInitShape<typeof messages.WorkloadSchema>;
type ServiceFields = MessageInitShape<typeof messages.ServiceSchema>;

const plainWorkload = { uid: 'c//Pod/shop/cart-1', name: 'cart-1', namespace: 'shop' };
const plainService = { name: 'cart', namespace: 'shop', hostname: 'cart.shop.svc' };

const workloadBytes = (fields: WorkloadFields) =>
  toBinary(
    messages.AddressSchema,
    create(messages.AddressSchema, { type: { case: 'workload', value: fields as never } }),
  );
const serviceBytes = (fields: ServiceFields) =>
  toBinary(
    messages.AddressSchema,
    create(messages.AddressSchema, { type: { case: 'service', value: fields as never } }),
  );

function workloadOf(fields: WorkloadFields, interner = new Interner()): Workload {
  const decoded = decodeAddress(plainWorkload.uid, workloadBytes(fields), interner);
  if (decoded.kind !== 'workload') throw new Error(JSON.stringify(decoded));
  return decoded.workload;
}

function serviceOf(fields: ServiceFields, interner = new Interner()): Service {
  const decoded = decodeAddress('shop/cart.shop.svc', serviceBytes(fields), interner);
  if (decoded.kind !== 'service') throw new Error(JSON.stringify(decoded));
  return decoded.service;
}

function reasonOf(bytes: Uint8Array): string | undefined {
  const decoded = decodeAddress('the-name', bytes, new Interner());
  return decoded.kind === 'invalid' ? decoded.reason : undefined;
}

t.test('every valid message reads as the generated decoder reads it', async (t) => {
  const interner = new Interner();
  fc.assert(
    fc.property(addressMessage, (message) => {
      const bytes = toBinary(messages.AddressSchema, message);
      const decoded = decodeAddress('name', bytes, interner);
      const record =
        decoded.kind === 'workload' ? decoded.workload : decoded.kind === 'service' ? decoded.service : decoded;
      t.strictSame(record, oracleAddress(bytes));
    }),
    { numRuns: 400 },
  );
});

t.test('what is cut off, changed or random is a value with a reason, and nothing throws', async () => {
  const interner = new Interner();
  const broken = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc
      .tuple(addressMessage, fc.nat(), fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }))
      .map(([message, cut, changes]) => {
        const bytes = toBinary(messages.AddressSchema, message);
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        return cut % 3 === 0 ? bytes : bytes.subarray(0, cut % (bytes.length + 1));
      }),
  );
  fc.assert(
    fc.property(broken, (bytes) => {
      const decoded = decodeAddress('the-name', bytes, interner);
      return decoded.kind !== 'invalid' || decoded.reason.startsWith('the-name: ');
    }),
    { numRuns: 3000 },
  );
});

t.test('what istiod leaves out has its meaning', async (t) => {
  const record = workloadOf(plainWorkload);
  t.match(record, { trustDomain: 'cluster.local', serviceAccount: 'default', clusterId: 'Kubernetes', capacity: 1 });
  t.equal(record.identity, 'spiffe://cluster.local/ns/shop/sa/default');
  t.match(record, { healthy: true, tunnelProtocol: 'none', networkMode: 'standard', workloadType: 'deployment' });
  t.equal(workloadOf({ ...plainWorkload, capacity: 0 }).capacity, 0, 'present and 0 is 0');
  t.match(serviceOf(plainService), { loadBalancing: { mode: 'any', allowUnhealthy: false }, visibility: 'public' });
});

t.test('a reason names the resource and the field', async (t) => {
  const gateway = { destination: { case: 'address', value: { address: Uint8Array.of(1, 2) } } } as const;
  const far = {
    destination: { case: 'hostname', value: { namespace: 'a', hostname: 'b' } },
    hboneMtlsPort: 70000,
  } as const;
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /^the-name: neither a workload nor a service$/],
    [workloadBytes({ ...plainWorkload, uid: '' }), /^the-name: uid: it is empty$/],
    [workloadBytes({ ...plainWorkload, addresses: [Uint8Array.of(1, 2, 3)] }), /addresses: an address of 3 bytes$/],
    [workloadBytes({ ...plainWorkload, tunnelProtocol: 2 }), /tunnel_protocol: LEGACY_ISTIO_MTLS/],
    [workloadBytes({ ...plainWorkload, tunnelProtocol: 7 as never }), /tunnel_protocol: unknown value 7$/],
    [workloadBytes({ ...plainWorkload, workloadType: 9 as never }), /workload_type: unknown value 9$/],
    [workloadBytes({ ...plainWorkload, status: 2 as never }), /status: unknown value 2$/],
    [workloadBytes({ ...plainWorkload, networkMode: -1 as never }), /network_mode: unknown value 4294967295$/],
    [workloadBytes({ ...plainWorkload, serviceAccount: 'a/b' }), /identity: not a workload identity: /],
    [workloadBytes({ ...plainWorkload, namespace: '..' }), /identity: not a workload identity: /],
    [workloadBytes({ ...plainWorkload, trustDomain: 'Upper' }), /identity: not a workload identity: /],
    [workloadBytes({ ...plainWorkload, waypoint: {} }), /waypoint: neither an address nor a hostname$/],
    [workloadBytes({ ...plainWorkload, waypoint: gateway }), /waypoint\.address: an address of 2 bytes$/],
    [workloadBytes({ ...plainWorkload, networkGateway: far }), /network_gateway\.hbone_mtls_port: not a port: 70000$/],
    [
      workloadBytes({ ...plainWorkload, applicationTunnel: { port: 65536 } }),
      /application_tunnel\.port: not a port: 65536$/,
    ],
    [
      workloadBytes({ ...plainWorkload, services: { 'a/b': { ports: [{ servicePort: 80, targetPort: 99999 }] } } }),
      /services\.target_port: not a port: 99999$/,
    ],
    [serviceBytes({ ...plainService, hostname: '' }), /hostname: it is empty$/],
    [serviceBytes({ ...plainService, namespace: '' }), /namespace: it is empty$/],
    [
      serviceBytes({ ...plainService, addresses: [{ address: new Uint8Array(0) }] }),
      /addresses: an address of 0 bytes$/,
    ],
    [
      serviceBytes({ ...plainService, addresses: [{ address: Uint8Array.of(10, 0, 0, 0), length: 33 }] }),
      /addresses: 4 bytes are no block of length 33$/,
    ],
    [serviceBytes({ ...plainService, ports: [{ servicePort: 65536 }] }), /ports\.service_port: not a port: 65536$/],
    [serviceBytes({ ...plainService, ports: [{ appProtocol: 6 as never }] }), /ports\.app_protocol: unknown value 6$/],
    [serviceBytes({ ...plainService, ipFamilies: 4 as never }), /ip_families: unknown value 4$/],
    [serviceBytes({ ...plainService, visibility: 2 as never }), /visibility: unknown value 2$/],
    [serviceBytes({ ...plainService, loadBalancing: { mode: 4 as never } }), /load_balancing\.mode: unknown value 4$/],
    [
      serviceBytes({ ...plainService, loadBalancing: { routingPreference: [1, 0] } }),
      /load_balancing\.routing_preference: unknown value 0$/,
    ],
    [
      serviceBytes({ ...plainService, weightedWaypoints: [{ weight: 1 }] }),
      /weighted_waypoints: it has no destination$/,
    ],
    [workloadBytes({ ...plainWorkload, hostname: 'x' }).subarray(0, -1), /^the-name: .*it is cut off$/],
    [new Uint8Array(1024 * 1024 + 1), /^the-name: it has 1048577 bytes$/],
  ];
  for (const [bytes, reason] of cases) t.match(reasonOf(bytes), reason);
});

t.test('bytes of a text that is no UTF-8 and a field of another wire type name the field', async (t) => {
  const wrap = (fill: (writer: BinaryWriter) => void) => {
    const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).fork();
    fill(writer);
    return writer.join().finish();
  };
  const broken = wrap((writer) => writer.tag(9, WireType.LengthDelimited).bytes(Uint8Array.of(0xff, 0xfe)));
  t.equal(reasonOf(broken), 'the-name: node: text that is not UTF-8');
  const number = wrap((writer) => writer.tag(7, WireType.Varint).uint32(1));
  t.equal(reasonOf(number), 'the-name: service_account: wire type 0 instead of 2');
  const group = wrap((writer) => writer.tag(99, WireType.StartGroup));
  t.equal(reasonOf(group), 'the-name: field 99: wire type 3');
});

t.test('fields and extensions that are not known here are passed over', async (t) => {
  const bytes = workloadBytes({ ...plainWorkload, extensions: [{ name: 'x' }] });
  const more = new BinaryWriter().tag(500, WireType.Bit64).fixed64(7n).tag(501, WireType.Bit32).fixed32(7).finish();
  const both = new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .bytes(Buffer.concat([bytes.subarray(2), more]))
    .finish();
  t.equal(decodeAddress('n', both, new Interner()).kind, 'workload');
});

t.test('a name that is no workload identity is left out of the names of a service', async (t) => {
  const id = 'spiffe://td/ns/a/sa/b';
  t.strictSame(serviceOf({ ...plainService, subjectAltNames: ['api.example.com', id] }).subjectAltNames, [id]);
});

t.test('an IPv4 block in IPv6 clothes is the IPv4 block', async (t) => {
  const address = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3);
  t.equal(serviceOf({ ...plainService, addresses: [{ address, length: 112 }] }).cidrs[0]?.cidr.text, '10.1.0.0/16');
});

t.test('equal parts of records are one object', async (t) => {
  const interner = new Interner();
  const fields: WorkloadFields = {
    ...plainWorkload,
    node: 'node-1',
    canonicalName: 'cart',
    locality: { region: 'r', zone: 'z', subzone: '' },
    authorizationPolicies: ['shop/a', 'shop/b'],
    services: { 'shop/cart': { ports: [{ servicePort: 80, targetPort: 8080 }] }, 'shop/all': { ports: [] } },
    waypoint: { destination: { case: 'hostname', value: { namespace: 'shop', hostname: 'wp' } }, hboneMtlsPort: 15008 },
  };
  const [a, b] = [workloadOf(fields, interner), workloadOf({ ...fields, name: 'cart-2' }, interner)];
  for (const part of ['locality', 'authorizationPolicies', 'services', 'waypoint'] as const)
    t.equal(a[part], b[part], part);
  const ports = { ports: [{ servicePort: 80, targetPort: 8080 }] };
  const other = workloadOf({ ...fields, services: { 'shop/other': ports } }, interner);
  t.equal(other.services.get('shop/other'), a.services.get('shop/cart'), 'port maps of different services too');
  interner.forget();
  const after = workloadOf(fields, interner);
  t.not(after.services, a.services, 'until it is told to forget');
  t.strictSame(after, a);
  t.equal(workloadOf(plainWorkload).addresses, workloadOf({ ...plainWorkload, name: 'x' }).addresses, 'empty lists');
});

t.test(
  'lists that are long are not kept for others, so that one that keeps changing leaves nothing behind',
  async (t) => {
    const services = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`shop/service-${i}.shop.svc`, { ports: [] }]));
    for (const [count, shared] of [
      [3, true],
      [300, false],
    ] as const) {
      const interner = new Interner();
      const [one, two] = [1, 2].map(() => workloadOf({ ...plainWorkload, services: services(count) }, interner));
      t.strictSame(one?.services, two?.services);
      t.equal(one?.services === two?.services, shared, `${count} services`);
    }
  },
);
