/**
 * Meshes of any size for measurements: workloads spread over namespaces, nodes and localities, services with their
 * endpoints, always the same for the same numbers.
 */
import { ipFromBytes } from '../../src/base/address.ts';
import type { GatewayAddress, Service, Workload } from '../../src/mesh/model.ts';
import { MeshStore } from '../../src/mesh/store.ts';
import { makeChange, makeService, makeWorkload } from '../../test/support/mesh-records.ts';

export const namespaces = 20;
const servicePort = 80;

export interface MeshSize {
  readonly workloads: number;
  readonly services: number;
}

export function buildMesh({ workloads, services }: MeshSize): MeshStore {
  const store = new MeshStore();
  const serviceRecords = Array.from({ length: services }, (_, i) => serviceAt(i));
  const workloadRecords = Array.from({ length: workloads }, (_, i) =>
    workloadAt(i, services === 0 ? [] : [serviceRecords[i % services] as Service]),
  );
  store.apply(makeChange({ services: serviceRecords, workloads: workloadRecords }));
  store.markComplete();
  return store;
}

export function workloadAt(i: number, services: readonly Service[], fields: Partial<Workload> = {}): Workload {
  return makeWorkload({
    name: `pod-${i}`,
    namespace: `ns-${i % namespaces}`,
    serviceAccount: `account-${i % 97}`,
    addresses: [workloadIp(i)],
    node: `node-${i % 50}`,
    locality: { region: `region-${i % 2}`, zone: `zone-${i % 6}`, subzone: '' },
    services: new Map(services.map(({ key }) => [key, new Map([[servicePort, 8080]])])),
    ...fields,
  });
}

export function serviceAt(i: number, fields: Partial<Service> = {}): Service {
  return makeService({
    name: `service-${i}`,
    namespace: `ns-${i % namespaces}`,
    addresses: [{ network: '', ip: serviceIp(i) }],
    ...fields,
  });
}

/** The waypoint of a service: a service of its own, named by its hostname as today's control planes do. */
export function gatewayOf(service: Service): GatewayAddress {
  return { kind: 'hostname', service: service.key, hbonePort: 15008 };
}

export function workloadIp(i: number): string {
  return ipAt(10, i);
}

export function serviceIp(i: number): string {
  return ipAt(11, i);
}

function ipAt(first: number, i: number): string {
  const ip = ipFromBytes(Uint8Array.of(first, (i >> 16) & 255, (i >> 8) & 255, i & 255));
  if (ip === undefined) throw new Error('four bytes are an address');
  return ip;
}
