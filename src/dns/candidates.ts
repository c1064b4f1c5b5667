/**
 * What a name may mean to a client: itself, its expansions to a service's or a pod's full name, and the same with a search
 * domain taken off, in the order in which they are tried (ztunnel.md §9). A client's resolver appends its search domains
 * before it sends; taking them off answers the first of its tries instead of the last.
 */

export interface Candidate {
  /** Lower case, without a dot at the end. */
  readonly name: string;
  /** Set when a search domain was taken off: so many labels of the question are left. */
  readonly strippedTo: number | undefined;
  /** `pod.service.namespace.svc.domain`. */
  readonly pod: boolean;
}

export interface SearchContext {
  readonly clusterDomain: string;
  /** The client's. */
  readonly namespace: string;
  readonly searchDomains: readonly string[];
}

/** Kubernetes' own search list for pods of a namespace. */
export function kubernetesSearchDomains(namespace: string, clusterDomain: string): readonly string[] {
  return [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
}

export function candidatesOf(labels: readonly string[], context: SearchContext): readonly Candidate[] {
  const found: Candidate[] = [];
  const seen = new Set<string>();
  const add = (name: string, strippedTo: number | undefined, pod: boolean) => {
    if (name === '' || seen.has(name)) return;
    seen.add(name);
    found.push({ name, strippedTo, pod });
  };
  const full = labels.join('.');
  const isPod = labels.length === 4 + labelCount(context.clusterDomain);
  add(full, undefined, isPod);
  expand(labels, context, (name, pod) => add(name, undefined, pod));
  for (const domain of context.searchDomains) {
    if (domain === '' || !full.endsWith(`.${domain}`)) continue;
    const left = labels.slice(0, labels.length - labelCount(domain));
    add(left.join('.'), left.length, false);
    expand(left, context, (name, pod) => add(name, left.length, pod));
  }
  return found;
}

/** The full names that a short one may stand for. */
function expand(
  labels: readonly string[],
  { clusterDomain, namespace }: SearchContext,
  add: (name: string, pod: boolean) => void,
): void {
  const name = labels.join('.');
  const service = labels.at(-1) === 'svc';
  switch (labels.length) {
    case 1:
      add(`${name}.${namespace}.svc.${clusterDomain}`, false);
      return;
    case 2:
      add(`${name}.svc.${clusterDomain}`, false);
      add(`${name}.${namespace}.svc.${clusterDomain}`, true);
      return;
    case 3:
      if (service) add(`${name}.${clusterDomain}`, false);
      add(`${name}.svc.${clusterDomain}`, true);
      return;
    case 4:
      if (service) add(`${name}.${clusterDomain}`, true);
      return;
  }
}

function labelCount(domain: string): number {
  return domain.split('.').length;
}
