/**
 * What stands in for a policy that was sent and cannot be read, when nothing older of that name is in force: it denies
 * everything it may have been about (design rule 1: policy that cannot be decided refuses). Whoever names it, its
 * namespace, or the mesh, as far as its scope can still be read.
 */
import type { L4Policy } from '../mesh/model.ts';
import { WireReader } from './wire-reader.ts';

/** `name`: `namespace/name`; undefined for a name of another form, which no workload can refer to. */
export function standInPolicy(resource: string, bytes: Uint8Array | undefined): L4Policy | undefined {
  const slash = resource.indexOf('/');
  if (slash <= 0 || slash === resource.length - 1) return undefined;
  return {
    key: resource,
    name: resource.slice(slash + 1),
    namespace: resource.slice(0, slash),
    scope: bytes === undefined ? 'namespace' : scopeOf(bytes),
    action: 'deny',
    dryRun: false,
    // One rule without conditions.
    rules: [[]],
  };
}

const scopeField = 3;

/** Fields are sent in the order of their numbers; a scope that is left out is the mesh's. */
function scopeOf(bytes: Uint8Array): L4Policy['scope'] {
  const reader = new WireReader(bytes);
  try {
    for (let field = reader.field(); field !== 0; field = reader.field()) {
      if (field > scopeField) return 'global';
      if (field !== scopeField) {
        reader.skip();
        continue;
      }
      const scope = reader.uint32();
      return scope === 0 ? 'global' : scope === 2 ? 'workload' : 'namespace';
    }
    return bytes.length === 0 ? 'namespace' : 'global';
  } catch {
    // Its bytes make no sense: the namespace in its name is all that is known of it.
    return 'namespace';
  }
}
