/**
 * ReferenceGrant: which routes of other namespaces may name the Services of this one. Producer routes need none in a mesh
 * (GEP-1426); consumer routes do, see `route-context.ts`.
 */
import * as z from 'zod';
import { type ConfigObject, type Parsed, parseContent, perObject } from './object.ts';
import { listOf } from './values.ts';

export interface ReferenceGrantSpec {
  /** Whose Services may be named. */
  readonly namespace: string;
  readonly from: readonly { readonly group: string; readonly kind: string; readonly namespace: string }[];
  readonly to: readonly { readonly group: string; readonly kind: string; readonly name?: string | undefined }[];
}

const schema = z.object({
  spec: z.object({
    from: listOf(z.object({ group: z.string(), kind: z.string(), namespace: z.string() })),
    to: listOf(z.object({ group: z.string(), kind: z.string(), name: z.string().optional() })),
  }),
});

export const parseReferenceGrant = perObject((object: ConfigObject): Parsed<ReferenceGrantSpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { from, to } = parsed.value.spec;
  return { value: { namespace: object.metadata.namespace, from, to }, diagnostics: [] };
});

export function isGranted(
  grants: readonly ReferenceGrantSpec[],
  route: { readonly kind: string; readonly namespace: string },
  service: { readonly namespace: string; readonly name: string },
): boolean {
  return grants.some(
    ({ namespace, from, to }) =>
      namespace === service.namespace &&
      from.some(
        (source) =>
          source.group === 'gateway.networking.k8s.io' &&
          source.kind === route.kind &&
          source.namespace === route.namespace,
      ) &&
      to.some(
        ({ group, kind, name }) =>
          (group === '' || group === 'core') && kind === 'Service' && (name === undefined || name === service.name),
      ),
  );
}
