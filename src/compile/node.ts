/** Node: where its pods are. Labels are Kubernetes' well-known ones, the older ones too, and Istio's for a sub-zone. */
import type { Locality } from '../mesh/model.ts';
import { type ConfigObject, type Parsed, perObject } from './object.ts';

export interface NodeSpec {
  readonly name: string;
  readonly locality: Locality | undefined;
}

export const parseNode = perObject((object: ConfigObject): Parsed<NodeSpec> => {
  const { name, labels } = object.metadata;
  const region = labels['topology.kubernetes.io/region'] ?? labels['failure-domain.beta.kubernetes.io/region'];
  const zone = labels['topology.kubernetes.io/zone'] ?? labels['failure-domain.beta.kubernetes.io/zone'];
  const subzone = labels['topology.istio.io/subzone'];
  return { value: { name, locality: localityOf([region, zone, subzone]) }, diagnostics: [] };
});

/** `istio-locality` of a pod (`region/zone/subzone`, or with dots where there is no slash) wins over its node. */
export function podLocality(
  labels: Readonly<Record<string, string>>,
  node: string,
  nodes: ReadonlyMap<string, NodeSpec>,
): Locality | undefined {
  const own = labels['istio-locality'];
  if (own === undefined || own === '') return nodes.get(node)?.locality;
  return localityOf(own.split(own.includes('/') ? '/' : '.'));
}

function localityOf([region, zone, subzone]: readonly (string | undefined)[]): Locality | undefined {
  return region ? { region, zone: zone ?? '', subzone: subzone ?? '' } : undefined;
}
