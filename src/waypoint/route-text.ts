/** Routes and policies in one line each, for people. */
import type { CustomAuthorization } from '../route/custom-authorization.ts';
import type { L7Policy, PathMatch, Route, RouteBackend, StreamRoute, TextMatch } from '../route/model.ts';

/** What a request has to be like; `any` for all of them. */
export function matchText({ match }: Route): string {
  if (match === undefined) return 'any';
  const parts: string[] = [];
  const { method, path, authority, scheme, sourceNamespace, sourceLabels } = match;
  if (method !== undefined) parts.push(`method ${textOf(method)}`);
  if (path !== undefined) parts.push(`path ${textOf(path)}`);
  if (authority !== undefined) parts.push(`authority ${textOf(authority)}`);
  if (scheme !== undefined) parts.push(`scheme ${textOf(scheme)}`);
  for (const { name, match: value, negate } of match.headers) {
    parts.push(`${negate ? 'not ' : ''}header ${name} ${textOf(value)}`);
  }
  for (const { name, match: value } of match.queryParams) parts.push(`query ${name} ${textOf(value)}`);
  parts.push(...sourceTexts(sourceNamespace, sourceLabels));
  return parts.length === 0 ? 'any' : parts.join(', ');
}

/** What a connection has to be like. */
export function streamMatchText({ serverNames, sourceNamespace, sourceLabels, destinations }: StreamRoute): string {
  const parts = [
    ...(serverNames === undefined ? [] : [`server name ${serverNames.join(' or ')}`]),
    ...sourceTexts(sourceNamespace, sourceLabels),
    ...(destinations === undefined ? [] : [`to ${destinations.map(({ text }) => text).join(' or ')}`]),
  ];
  return parts.length === 0 ? 'any' : parts.join(', ');
}

/** What the route does with it. */
export function actionText({ action }: Route): string {
  switch (action.kind) {
    case 'redirect':
      return `redirect ${action.redirect.status}`;
    case 'respond':
      return `respond ${action.status}`;
    case 'forward':
      return backendsText(action.backends);
  }
}

export function backendsText(backends: readonly RouteBackend[]): string {
  if (backends.length === 0) return 'respond 500';
  return backends.map(backendText).join(', ');
}

function backendText({ service, port, subset, weight, refusal }: RouteBackend): string {
  const to = service === undefined ? `invalid (${refusal ?? 500})` : `${service}:${port}`;
  return `${to}${subset === undefined ? '' : ` subset ${subset}`} weight ${weight}`;
}

/** Whom CUSTOM policies ask. */
export function customTexts({ providerName, provider, policies }: CustomAuthorization): readonly string[] {
  const whom = provider === undefined ? 'nobody, denies' : `${provider.target.hostname}:${provider.target.port}`;
  return policies.map(({ source, dryRun }) => {
    const dry = dryRun ? ' (dry run)' : '';
    return `custom${dry} ${source.namespace}/${source.name} asks ${providerName || 'no provider'} (${whom})`;
  });
}

export function policyText({ action, source, dryRun }: L7Policy): string {
  return `${action}${dryRun ? ' (dry run)' : ''} ${source.namespace}/${source.name}`;
}

function sourceTexts(
  namespace: string | undefined,
  labels: readonly (readonly [name: string, value: string])[] | undefined,
): readonly string[] {
  return [
    ...(namespace === undefined ? [] : [`from namespace ${namespace}`]),
    ...(labels ?? []).map(([name, value]) => `from ${name}=${value}`),
  ];
}

function textOf(match: TextMatch | PathMatch): string {
  if (match.kind === 'presence') return 'present';
  return `${match.kind} ${match.kind === 'regex' ? match.source : match.value}`;
}
