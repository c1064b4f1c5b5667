/**
 * One condition of an AuthorizationPolicy rule, from a field of `source` or `operation` or from a `when` key, as a record
 * that policy evaluation takes. Text forms are Istio's: exact, `prefix*`, `*suffix`, `*` for presence, and path
 * templates with `{*}` and `{**}`.
 */
import { type Cidr, parseCidr } from '../base/address.ts';
import type { StringMatch } from '../mesh/model.ts';
import type { L7Condition, TextMatch } from '../route/model.ts';
import { regexMatch } from './values.ts';

export type PolicyField =
  | 'principals'
  | 'requestPrincipals'
  | 'namespaces'
  | 'ipBlocks'
  | 'remoteIpBlocks'
  | 'serviceAccounts'
  | 'trustDomains'
  | 'hosts'
  | 'ports'
  | 'methods'
  | 'paths';

export type ConditionOutcome =
  | { readonly kind: 'condition'; readonly condition: L7Condition }
  /** What is wrong, or what is not supported. */
  | { readonly kind: 'problem'; readonly problem: string };

type Texts = readonly string[];

/** `namespace`: of the policy, for service accounts without one. */
export function fieldCondition(
  field: PolicyField,
  values: Texts,
  notValues: Texts,
  namespace: string,
): ConditionOutcome {
  switch (field) {
    case 'principals':
      return condition({ kind: 'principal', ...both(values, notValues, stringMatch) });
    case 'trustDomains':
      return condition({ kind: 'trust-domain', ...both(values, notValues, stringMatch) });
    case 'namespaces':
      return condition({ kind: 'namespace', ...both(values, notValues, stringMatch) });
    case 'serviceAccounts':
      return condition({ kind: 'service-account', ...both(values, notValues, (text) => accountOf(text, namespace)) });
    case 'ipBlocks':
      return blocks('source-ip', values, notValues);
    case 'remoteIpBlocks':
      return blocks('remote-ip', values, notValues);
    case 'ports':
      return ports(values, notValues);
    case 'hosts':
      return condition({ kind: 'host', ...both(values, notValues, (text) => textMatch(text, true)) });
    case 'methods':
      return condition({ kind: 'method', ...both(values, notValues, (text) => textMatch(text, false)) });
    case 'paths':
      return condition({ kind: 'path', ...both(values, notValues, pathMatch) });
    case 'requestPrincipals':
      return condition({ kind: 'request-principal', ...both(values, notValues, stringMatch) });
  }
}

export function whenCondition(
  when: { readonly key: string; readonly values: Texts; readonly notValues: Texts },
  namespace: string,
): ConditionOutcome {
  const { key, values, notValues } = when;
  const field = whenFields[key];
  if (field !== undefined) return fieldCondition(field, values, notValues, namespace);
  if (key === 'destination.ip') return blocks('destination-ip', values, notValues);
  if (key === 'connection.sni') {
    return condition({ kind: 'server-name', ...both(values, notValues, (text) => stringMatch(text.toLowerCase())) });
  }
  const header = /^request\.headers\[([!#$%&'*+.^_`|~0-9A-Za-z:-]+)\]$/.exec(key)?.[1];
  if (header !== undefined) {
    const texts = both(values, notValues, (text) => textMatch(text, false));
    return condition({ kind: 'header', name: header.toLowerCase(), ...texts });
  }
  if (key === 'request.auth.audiences' || key === 'request.auth.presenter') {
    const kind = key === 'request.auth.audiences' ? 'audience' : 'presenter';
    return condition({ kind, ...both(values, notValues, stringMatch) });
  }
  const claim = /^request\.auth\.claims((?:\[[^[\]]+\])+)$/.exec(key)?.[1];
  if (claim !== undefined) {
    const path = claim.slice(1, -1).split('][');
    return condition({ kind: 'claim', path, ...both(values, notValues, stringMatch) });
  }
  return { kind: 'problem', problem: `the key ${key} is not supported` };
}

const whenFields: Readonly<Record<string, PolicyField | undefined>> = {
  'source.ip': 'ipBlocks',
  'remote.ip': 'remoteIpBlocks',
  'source.namespace': 'namespaces',
  'source.serviceAccount': 'serviceAccounts',
  'source.principal': 'principals',
  'source.trustDomain': 'trustDomains',
  'destination.port': 'ports',
  'request.auth.principal': 'requestPrincipals',
};

function condition(value: L7Condition): ConditionOutcome {
  return { kind: 'condition', condition: value };
}

function both<T>(values: Texts, notValues: Texts, read: (text: string) => T) {
  return { values: values.map(read), notValues: notValues.map(read) };
}

function blocks(kind: 'source-ip' | 'remote-ip' | 'destination-ip', values: Texts, notValues: Texts): ConditionOutcome {
  const read: Cidr[] = [];
  for (const text of [...values, ...notValues]) {
    const block = parseCidr(text);
    if (block === undefined) return { kind: 'problem', problem: `not an address block: ${text}` };
    read.push(block);
  }
  return condition({ kind, values: read.slice(0, values.length), notValues: read.slice(values.length) });
}

function ports(values: Texts, notValues: Texts): ConditionOutcome {
  const wrong = [...values, ...notValues].find((text) => !/^[1-9][0-9]{0,4}$/.test(text) || Number(text) > 65535);
  if (wrong !== undefined) return { kind: 'problem', problem: `not a port: ${wrong}` };
  return condition({ kind: 'destination-port', ...both(values, notValues, Number) });
}

function accountOf(text: string, namespace: string): string {
  return text.includes('/') ? text : `${namespace}/${text}`;
}

function stringMatch(text: string): StringMatch {
  if (text === '*') return { kind: 'presence' };
  if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) };
  if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) };
  return { kind: 'exact', value: text };
}

function textMatch(text: string, ignoreCase: boolean): TextMatch {
  const match = stringMatch(text);
  return match.kind === 'presence' ? match : { ...match, ignoreCase };
}

function pathMatch(text: string): TextMatch {
  if (!text.includes('{*}') && !text.includes('{**}')) return textMatch(text, false);
  const source = text
    .split(/(\{\*\*?\})/)
    .map((part) => (part === '{*}' ? '[^/]+' : part === '{**}' ? '.*' : part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')))
    .join('');
  const match = regexMatch(source);
  // The source is escaped above, so only an engine that changed its syntax can refuse it.
  if (match === undefined) throw new Error(`path template does not compile: ${text}`);
  return match;
}
