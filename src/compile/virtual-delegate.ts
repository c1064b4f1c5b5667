/**
 * Delegation between VirtualServices, by Istio's rules: a root's rule stands before every rule of its delegate, their matches
 * both hold, and what the delegate's rule does not say is the root's. A pair of matches that no request could meet, or that
 * Istio takes for one, is left out. One level: a delegate's own delegates are not followed.
 */
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../route/model.ts';
import type { StagesSpec } from './stages.ts';
import type { DestinationSpec, VirtualMatchEntry, VirtualRuleSpec } from './virtual-rule.ts';

export interface DelegatedRule {
  readonly rule: VirtualRuleSpec;
  /** Of each of the rule's matches, in order: `root match.delegate match`. */
  readonly places: readonly string[];
}

/** Undefined: none of the matches can be met together with the root's. */
export function delegated(root: VirtualRuleSpec, leaf: VirtualRuleSpec): DelegatedRule | undefined {
  const pairs = root.matches.flatMap((above) =>
    leaf.matches.flatMap((below) => {
      const entry = bothMatches(above, below);
      return entry === undefined ? [] : [{ entry, place: `${above.index}.${below.index}` }];
    }),
  );
  if (pairs.length === 0) return undefined;
  const ownHeaders = leaf.requestHeaders !== undefined || leaf.responseHeaders !== undefined;
  const headers = ownHeaders ? leaf : root;
  const ownRewrite = leaf.rewritePath !== undefined || leaf.rewriteHost !== undefined;
  const rewrite = ownRewrite ? leaf : root;
  const rule: VirtualRuleSpec = {
    name: [root.name, leaf.name].filter((name) => name !== undefined).join('-') || undefined,
    matches: pairs.map(({ entry }) => entry),
    action: leaf.action,
    requestHeaders: headers.requestHeaders,
    responseHeaders: headers.responseHeaders,
    rewritePath: rewrite.rewritePath,
    rewriteHost: rewrite.rewriteHost,
    timeoutMs: leaf.timeoutMs ?? root.timeoutMs,
    retry: leaf.retry ?? root.retry,
    stages: bothStages(root.stages, leaf.stages),
  };
  return { rule, places: pairs.map(({ place }) => place) };
}

function bothStages(
  root: StagesSpec<DestinationSpec> | undefined,
  leaf: StagesSpec<DestinationSpec> | undefined,
): StagesSpec<DestinationSpec> | undefined {
  if (root === undefined || leaf === undefined) return leaf ?? root;
  return {
    fault: leaf.fault ?? root.fault,
    cors: leaf.cors ?? root.cors,
    mirrors: leaf.mirrors.length > 0 ? leaf.mirrors : root.mirrors,
  };
}

function bothMatches(above: VirtualMatchEntry, below: VirtualMatchEntry): VirtualMatchEntry | undefined {
  if (above.port !== undefined && below.port !== undefined && above.port !== below.port) return undefined;
  const [root, leaf] = [above.match, below.match];
  if (pathsConflict(root.path, leaf.path)) return undefined;
  for (const part of ['method', 'scheme', 'authority'] as const)
    if (textsConflict(root[part], leaf[part])) return undefined;
  if (namedConflict(root.headers, leaf.headers) || namedConflict(root.queryParams, leaf.queryParams)) return undefined;
  if (differ(root.sourceNamespace, leaf.sourceNamespace)) return undefined;
  const labels = new Map(root.sourceLabels ?? []);
  for (const [name, value] of leaf.sourceLabels ?? []) {
    if (differ(labels.get(name), value)) return undefined;
    labels.set(name, value);
  }
  const claims = [...(root.claims ?? []), ...(leaf.claims ?? [])];
  const sourceNamespace = leaf.sourceNamespace ?? root.sourceNamespace;
  const match: RouteMatch = {
    path: leaf.path ?? root.path,
    method: leaf.method ?? root.method,
    authority: leaf.authority ?? root.authority,
    scheme: leaf.scheme ?? root.scheme,
    headers: [...root.headers, ...leaf.headers],
    queryParams: [...root.queryParams, ...leaf.queryParams],
    ...(claims.length === 0 ? undefined : { claims }),
    ...(sourceNamespace === undefined ? undefined : { sourceNamespace }),
    ...(labels.size === 0 ? undefined : { sourceLabels: [...labels] }),
  };
  return { index: below.index, match, port: below.port ?? above.port };
}

/** The leaf has to be narrower than the root; a regular expression goes together with nothing. */
function pathsConflict(root: PathMatch | undefined, leaf: PathMatch | undefined): boolean {
  if (root === undefined || leaf === undefined) return false;
  if (root.kind === 'regex' || leaf.kind === 'regex') return true;
  const [rootIgnores, leafIgnores] = [root, leaf].map((path) => 'ignoreCase' in path && path.ignoreCase);
  if (rootIgnores !== leafIgnores) return true;
  const [outer, inner] = rootIgnores ? [root.value.toLowerCase(), leaf.value.toLowerCase()] : [root.value, leaf.value];
  if (root.kind === 'exact') return leaf.kind !== 'exact' || outer !== inner;
  return !inner.startsWith(outer);
}

function textsConflict(root: TextMatch | undefined, leaf: TextMatch | undefined): boolean {
  if (root === undefined || leaf === undefined || root.kind === 'presence' || leaf.kind === 'presence') return false;
  if (root.kind === 'regex' || leaf.kind === 'regex' || root.kind === 'suffix' || leaf.kind === 'suffix') return true;
  if (root.kind === 'exact') return leaf.kind !== 'exact' || root.value !== leaf.value;
  return !leaf.value.startsWith(root.value);
}

function namedConflict(root: readonly NamedMatch[], leaf: readonly NamedMatch[]): boolean {
  return leaf.some(({ name, negate, match }) =>
    root.some((other) => other.name === name && other.negate === negate && textsConflict(other.match, match)),
  );
}

function differ(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b;
}
