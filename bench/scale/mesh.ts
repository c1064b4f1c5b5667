/**
 * A mesh of a given size as istiod sends it (istiod-observed.md): Deployments of a few pods each behind a Service, spread over
 * namespaces, nodes and zones, and policies of ten rules. The same numbers give the same bytes.
 */
import { create, toBinary } from '@bufbuild/protobuf';
import * as authorization from '../../src/proto/gen/authorization_pb.js';
import * as messages from '../../src/proto/gen/workload_pb.js';

export interface MeshSize {
  readonly workloads: number;
  readonly services: number;
  readonly policies: number;
}

export interface Resource {
  readonly name: string;
  readonly value: Uint8Array;
}

/** The pod the measured ztunnel is for, as `namespace/name/serviceaccount`: the first of all. */
export const ownPod = `team-0/${podName(0, 0)}/backend-service-0`;

const podsOfANode = 50;
const rulesOfAPolicy = 10;
const domain = 'svc.cluster.local';

export function* addresses(size: MeshSize): Generator<Resource> {
  for (let i = 0; i < size.services; i++) yield service(i);
  for (let i = 0; i < size.workloads; i++) yield workload(i, size);
}

export function* policies(size: MeshSize): Generator<Resource> {
  for (let i = 0; i < size.policies; i++) yield policy(i);
}

/** `revision`: another one gives another record of the same name. */
export function workload(i: number, size: MeshSize, revision = 0): Resource {
  const of = i % Math.max(1, size.services);
  const { namespace, name: deployment, hostname } = names(of);
  const name = podName(i, of);
  const uid = `Kubernetes//Pod/${namespace}/${name}`;
  const at = Math.floor(i / podsOfANode);
  const value = create(messages.WorkloadSchema, {
    uid,
    name,
    namespace,
    addresses: [Uint8Array.of(10, 64 + (i >> 16), (i >> 8) & 255, i & 255)],
    tunnelProtocol: messages.TunnelProtocol.HBONE,
    serviceAccount: deployment,
    node: `node-${String(at).padStart(4, '0')}.europe-west1.example.internal`,
    canonicalName: deployment,
    canonicalRevision: revision === 0 ? 'v1' : `v${revision + 1}`,
    workloadType: messages.WorkloadType.POD,
    workloadName: deployment,
    clusterId: 'Kubernetes',
    services: {
      [`${namespace}/${hostname}`]: {
        ports: [
          { servicePort: 80, targetPort: 8080 },
          { servicePort: 9090, targetPort: 9090 },
        ],
      },
    },
    locality: { region: 'europe-west1', zone: `europe-west1-${'abc'[at % 3]}` },
  });
  return { name: uid, value: bytesOf({ case: 'workload', value }) };
}

function service(i: number): Resource {
  const { namespace, name, hostname } = names(i);
  const value = create(messages.ServiceSchema, {
    name,
    namespace,
    hostname,
    addresses: [{ address: Uint8Array.of(10, 16 + (i >> 16), (i >> 8) & 255, i & 255) }],
    ports: [
      { servicePort: 80, targetPort: 8080, appProtocol: messages.AppProtocol.HTTP11 },
      { servicePort: 9090, targetPort: 9090 },
    ],
    ipFamilies: messages.IPFamilies.IPV4_ONLY,
    canonical: true,
  });
  return { name: `${namespace}/${hostname}`, value: bytesOf({ case: 'service', value }) };
}

function policy(i: number): Resource {
  const { namespace } = names(i);
  const name = `allow-${i}`;
  const rules = Array.from({ length: rulesOfAPolicy }, (_, rule) => ({
    clauses: [
      {
        matches: [
          {
            principals: [
              { matchType: { case: 'exact', value: `cluster.local/ns/other/sa/client-${i}-${rule}` } as const },
            ],
          },
        ],
      },
      { matches: [{ destinationPorts: [8080, 9090] }] },
    ],
  }));
  const message = { name, namespace, scope: authorization.Scope.NAMESPACE, action: authorization.Action.ALLOW, rules };
  const value = toBinary(authorization.AuthorizationSchema, create(authorization.AuthorizationSchema, message));
  return { name: `${namespace}/${name}`, value };
}

function podName(i: number, of: number): string {
  return `backend-service-${of}-${hash(of, 10)}-${hash(i + 7, 5)}`;
}

function names(i: number): { namespace: string; name: string; hostname: string } {
  const namespace = `team-${i % 500}`;
  const name = `backend-service-${i}`;
  return { namespace, name, hostname: `${name}.${namespace}.${domain}` };
}

function bytesOf(type: messages.Address['type']): Uint8Array {
  return toBinary(messages.AddressSchema, create(messages.AddressSchema, { type }));
}

/** As Kubernetes makes the ends of names. */
function hash(i: number, length: number): string {
  let rest = Math.imul(i + 1, 0x9e3779b1) >>> 0;
  let text = '';
  while (text.length < length) {
    text += 'bcdfghjklmnpqrstvwxz2456789'[rest % 27];
    rest = Math.imul(rest ^ (rest >>> 13), 0x85ebca6b) >>> 0;
  }
  return text;
}
