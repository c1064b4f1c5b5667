/** TCPRoute: where the connections of a Service port go, by weight. It has no matches, so its first rule is all of it. */
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

export interface TcpRouteSpec {
  readonly object: ConfigObject;
  readonly parents: readonly ParentSpec[];
  readonly backends: readonly BackendSpec[];
}

const schema = z.object({
  spec: z.object({
    parentRefs: parentRefsSchema,
    rules: listOf(z.object({ name: z.string().optional(), backendRefs: listOf(backendRefSchema) })),
  }),
});

export const parseTcpRoute = perObject((object: ConfigObject): Parsed<TcpRouteSpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { parentRefs, rules } = parsed.value.spec;
  const diagnostics: Diagnostic[] = [];
  const parents = readParents(object, parentRefs, diagnostics);
  if (rules.length > 1) {
    const message = 'only the first rule can ever apply';
    diagnostics.push(diagnose(object, 'ROUTE_FIELD_UNSUPPORTED', message, ['spec', 'rules', 1]));
  }
  const backends = (rules[0]?.backendRefs ?? []).map((ref, i) =>
    readBackendRef(object, ref, ['spec', 'rules', 0, 'backendRefs', i]),
  );
  return { value: { object, parents, backends }, diagnostics };
});
