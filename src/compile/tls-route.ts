/** TLSRoute: where TLS connections to a Service port go, by the server name of the client's hello. Nothing is decrypted. */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import {
  type BackendSpec,
  backendRefSchema,
  type ParentSpec,
  parentRefsSchema,
  readBackendRef,
  readParents,
} from './http-route.ts';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import { listOf } from './values.ts';

export interface TlsRouteSpec {
  readonly object: ConfigObject;
  readonly parents: readonly ParentSpec[];
  /** Lower case; none stands for every name. */
  readonly hostnames: readonly string[];
  readonly backends: readonly BackendSpec[];
}

const label = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?';
const hostnameSchema = z
  .string()
  .max(253)
  .transform((name) => name.toLowerCase())
  .refine((name) => new RegExp(`^(?:\\*\\.)?${label}(?:\\.${label})*$`).test(name), 'not a host name')
  .refine((name) => !/^[0-9.]+$/.test(name), 'an address is no server name (RFC 6066 §3)');

const schema = z.object({
  spec: z.object({
    parentRefs: parentRefsSchema,
    hostnames: listOf(hostnameSchema).refine((names) => names.length <= 1024, 'more than 1024 host names'),
    rules: listOf(z.object({ name: z.string().optional(), backendRefs: listOf(backendRefSchema) })),
  }),
});

export const parseTlsRoute = perObject((object: ConfigObject): Parsed<TlsRouteSpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { parentRefs, hostnames, rules } = parsed.value.spec;
  const diagnostics: Diagnostic[] = [];
  const parents = readParents(object, parentRefs, diagnostics);
  if (rules.length > 1) {
    const message = 'only the first rule can ever apply';
    diagnostics.push(diagnose(object, 'ROUTE_FIELD_UNSUPPORTED', message, ['spec', 'rules', 1]));
  }
  const backends = (rules[0]?.backendRefs ?? []).map((ref, i) =>
    readBackendRef(object, ref, ['spec', 'rules', 0, 'backendRefs', i]),
  );
  return { value: { object, parents, hostnames, backends }, diagnostics };
});
