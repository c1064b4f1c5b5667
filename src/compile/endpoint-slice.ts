/**
 * EndpointSlice: endpoints of Services that select no pods. Those of a Service with a selector are derived from the pods
 * themselves, as istiod does, so their slices are read but add nothing.
 */

import * as z from 'zod';
import { canonicalIp } from '../base/address.ts';
import type { Diagnostic } from '../base/diagnostics.ts';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import { listOf, portSchema } from './values.ts';

export interface SliceSpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  /** Name of the Service. */
  readonly service: string;
  readonly endpoints: readonly { readonly ip: string; readonly ready: boolean; readonly node: string }[];
  /** Target ports by the name of the Service's port. */
  readonly ports: ReadonlyMap<string, number>;
}

const schema = z.object({
  endpoints: listOf(
    z.object({
      addresses: listOf(z.string()),
      nodeName: z.string().nullish(),
      conditions: z.object({ ready: z.boolean().nullish() }).nullish(),
    }),
  ),
  ports: listOf(z.object({ name: z.string().nullish(), port: portSchema.nullish(), protocol: z.string().nullish() })),
  addressType: z.string().default('IPv4'),
});

export const parseEndpointSlice = perObject((object: ConfigObject): Parsed<SliceSpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { endpoints, ports, addressType } = parsed.value;
  const { namespace, labels } = object.metadata;
  const service = labels['kubernetes.io/service-name'];
  if (service === undefined) {
    const message = 'no label kubernetes.io/service-name';
    return { value: undefined, diagnostics: [diagnose(object, 'SLICE_WITHOUT_SERVICE', message, ['metadata'])] };
  }
  if (addressType === 'FQDN') return { value: undefined, diagnostics: [] };
  const diagnostics: Diagnostic[] = [];
  const found = endpoints.flatMap(({ addresses, nodeName, conditions }, i) =>
    addresses.flatMap((text) => {
      const ip = canonicalIp(text);
      if (ip !== undefined) return [{ ip, ready: conditions?.ready !== false, node: nodeName ?? '' }];
      diagnostics.push(diagnose(object, 'OBJECT_INVALID', `not an IP address: ${text}`, ['endpoints', i]));
      return [];
    }),
  );
  const targets = new Map<string, number>();
  for (const { name, port, protocol } of ports) {
    if (port != null && (protocol ?? 'TCP') === 'TCP') targets.set(name ?? '', port);
  }
  const value = { object, namespace, service, endpoints: found, ports: targets };
  return { value: diagnostics.length > 0 ? undefined : value, diagnostics };
});
