/**
 * VirtualService: `http`, `tls` and `tcp` routes for the hosts it names, in written order, as Istio applies them on waypoints
 * (gateway `mesh`). One without hosts is there to be delegated to.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import { unknownFields } from './unknown-fields.ts';
import { listOf } from './values.ts';
import { readRule, type VirtualRuleSpec } from './virtual-rule.ts';
import { readStreamRule, streamRuleSchema, type VirtualStreamSpec } from './virtual-stream.ts';

export interface VirtualServiceSpec {
  readonly object: ConfigObject;
  /** As written: a short name, a full one, or with a leading `*`. */
  readonly hosts: readonly string[];
  /** Namespaces that see it, `.` written out; undefined: all. */
  readonly exportTo: ReadonlySet<string> | undefined;
  readonly rules: readonly VirtualRuleSpec[];
  /** Those by server name first, as Istio has it. */
  readonly streams: readonly VirtualStreamSpec[];
}

const schema = z.object({
  spec: z.object({
    hosts: listOf(z.string()),
    gateways: listOf(z.string()),
    http: listOf(z.looseObject({ match: listOf(z.unknown()) })),
    tcp: listOf(streamRuleSchema),
    tls: listOf(streamRuleSchema),
    exportTo: listOf(z.string()),
  }),
});

const fields = { hosts: true, gateways: true, http: true, tcp: true, tls: true, exportTo: true } as const;

export const parseVirtualService = perObject((object: ConfigObject): Parsed<VirtualServiceSpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { hosts, gateways, http, tcp, tls, exportTo } = parsed.value.spec;
  // One that is only for gateways is not for the mesh.
  if (gateways.length > 0 && !gateways.includes('mesh')) return { value: undefined, diagnostics: [] };
  const diagnostics: Diagnostic[] = [];
  for (const at of unknownFields(object.content.spec, fields, ['spec'])) {
    diagnostics.push(diagnose(object, 'ROUTE_FIELD_UNSUPPORTED', `${at.join('.')} has no effect`, at));
  }
  const rules = http.map((rule, i) => readRule(object, rule, ['spec', 'http', i], diagnostics));
  const streams = [
    ...tls.map((rule, i) => readStreamRule(object, 'tls', rule, i, diagnostics)),
    ...tcp.map((rule, i) => readStreamRule(object, 'tcp', rule, i, diagnostics)),
  ];
  return { value: { object, hosts, exportTo: seenBy(object, exportTo), rules, streams }, diagnostics };
});

function seenBy(object: ConfigObject, exportTo: readonly string[]): ReadonlySet<string> | undefined {
  if (exportTo.length === 0 || exportTo.includes('*')) return undefined;
  return new Set(exportTo.map((namespace) => (namespace === '.' ? object.metadata.namespace : namespace)));
}
