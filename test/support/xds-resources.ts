/** Resources as a control plane encodes them: small workloads, services and policies, named as istiod names them. */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import * as security from '../../src/proto/gen/authorization_pb.js';
import * as workload from '../../src/proto/gen/workload_pb.js';

export interface NamedBytes {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A pod in the mesh, on `node`. */
export function podResource(
  name: string,
  ip: string,
  fields: Omit<MessageInitShape<typeof workload.WorkloadSchema>, '$typeName'> = {},
): NamedBytes {
  const namespace = fields.namespace ?? 'default';
  const uid = `Kubernetes//Pod/${namespace}/${name}`;
  const value = create(workload.WorkloadSchema, {
    uid,
    name,
    namespace,
    addresses: [ipBytes(ip)],
    serviceAccount: name,
    tunnelProtocol: workload.TunnelProtocol.HBONE,
    workloadName: name,
    canonicalName: name,
    ...fields,
  });
  return { name: uid, bytes: encodeAddress({ case: 'workload', value }) };
}

/** `ports`: service port → target port. */
export function serviceResource(
  name: string,
  vip: string,
  ports: Readonly<Record<number, number>>,
  fields: Omit<MessageInitShape<typeof workload.ServiceSchema>, '$typeName'> = {},
): NamedBytes {
  const namespace = fields.namespace ?? 'default';
  const hostname = `${name}.${namespace}.svc.cluster.local`;
  const value = create(workload.ServiceSchema, {
    name,
    namespace,
    hostname,
    addresses: [{ network: '', address: ipBytes(vip) }],
    ports: portList(ports),
    ...fields,
  });
  return { name: `${namespace}/${hostname}`, bytes: encodeAddress({ case: 'service', value }) };
}

export function portList(ports: Readonly<Record<number, number>>) {
  return Object.entries(ports).map(([servicePort, targetPort]) => ({ servicePort: Number(servicePort), targetPort }));
}

export function policyResource(
  key: string,
  fields: Omit<MessageInitShape<typeof security.AuthorizationSchema>, '$typeName'> = {},
): NamedBytes {
  const [namespace = '', name = ''] = key.split('/');
  const value = create(security.AuthorizationSchema, { name, namespace, scope: security.Scope.NAMESPACE, ...fields });
  return { name: key, bytes: toBinary(security.AuthorizationSchema, value) };
}

/** DENY for everybody. */
export const denyAll = { action: security.Action.DENY, rules: [{}] };

function encodeAddress(type: MessageInitShape<typeof workload.AddressSchema>['type'] & object): Uint8Array {
  return toBinary(workload.AddressSchema, create(workload.AddressSchema, { type } as never));
}

/** IPv4 alone. */
function ipBytes(ip: string): Uint8Array {
  return Uint8Array.from(ip.split('.').map(Number));
}
