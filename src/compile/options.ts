/** What a compilation needs to know besides the objects. */
import type { Preset } from '../config/preset.ts';
import type { ServiceKey } from '../mesh/model.ts';
import type { ServiceSpec } from './service.ts';

export interface CompileOptions {
  readonly preset: Preset;
  readonly trustDomain: string;
  readonly clusterId: string;
  /** Domain of Services' host names. */
  readonly clusterDomain: string;
  readonly network: string;
  /** Policies in it apply to the whole mesh. */
  readonly rootNamespace: string;
}

export const defaultCompileOptions: Omit<CompileOptions, 'preset'> = {
  trustDomain: 'cluster.local',
  clusterId: 'Kubernetes',
  clusterDomain: 'cluster.local',
  network: '',
  rootNamespace: 'istio-system',
};

export function serviceHostname(namespace: string, name: string, options: CompileOptions): string {
  return `${name}.${namespace}.svc.${options.clusterDomain}`;
}

/** Host name of what was parsed: that of a Service in the cluster's domain, or the host of a ServiceEntry. */
export function specHostname({ namespace, name, entry }: ServiceSpec, options: CompileOptions): string {
  return entry?.host ?? serviceHostname(namespace, name, options);
}

/** One text for each Service, however many routes name it. */
export function specKey(spec: ServiceSpec, options: CompileOptions): ServiceKey {
  const { clusterDomain } = options;
  const known = keys.get(spec);
  if (known?.clusterDomain === clusterDomain) return known.key;
  // Joined, it is flat; a template would keep all its parts.
  const key = [spec.namespace, specHostname(spec, options)].join('/');
  keys.set(spec, { clusterDomain, key });
  return key;
}

const keys = new WeakMap<ServiceSpec, { readonly clusterDomain: string; readonly key: ServiceKey }>();

export function serviceKey(namespace: string, name: string, options: CompileOptions): ServiceKey {
  return `${namespace}/${serviceHostname(namespace, name, options)}`;
}
