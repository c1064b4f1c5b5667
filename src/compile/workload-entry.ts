/** WorkloadEntry: a machine that is no pod, as an endpoint of the ServiceEntries that select its labels. */
import * as z from 'zod';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import { type EntryEndpointSpec, endpointSchema, readEndpoint } from './service-entry.ts';

export interface WorkloadEntrySpec {
  readonly object: ConfigObject;
  readonly name: string;
  readonly namespace: string;
  readonly endpoint: EntryEndpointSpec;
}

const schema = z.object({ spec: endpointSchema });

export const parseWorkloadEntry = perObject((object: ConfigObject): Parsed<WorkloadEntrySpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { name, namespace } = object.metadata;
  const endpoint = readEndpoint(parsed.value.spec);
  if (endpoint !== undefined) return { value: { object, name, namespace, endpoint }, diagnostics: [] };
  const message = `not an address or host name: ${parsed.value.spec.address}`;
  return { value: undefined, diagnostics: [diagnose(object, 'OBJECT_INVALID', message, ['spec', 'address'])] };
});
