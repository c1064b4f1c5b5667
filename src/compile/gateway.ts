/**
 * Gateway: the object that asks for L7. Two forms make a waypoint: the preview's (class `istio-mesh`, served account by
 * annotation, no listener needed, R2) and today's (a listener HBONE, bound by label).
 */

import * as z from 'zod';
import { canonicalIp } from '../base/address.ts';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import { accountSchema, labelsSchema, listOf, portSchema } from './values.ts';

export type WaypointFor = 'service' | 'workload' | 'all' | 'none';

/** Whose objects may use the waypoint. */
export type AllowedFrom =
  | { readonly kind: 'same' }
  | { readonly kind: 'all' }
  | { readonly kind: 'selector'; readonly labels: Readonly<Record<string, string>> };

export type GatewayForm =
  /** `serviceAccount` undefined: a waypoint for every account of the namespace. */
  | { readonly kind: 'service-account'; readonly serviceAccount: string | undefined }
  | {
      readonly kind: 'label';
      readonly waypointFor: WaypointFor;
      readonly port: number;
      readonly allowedFrom: AllowedFrom;
      /** `spec.addresses`, else `status.addresses`: used when there is no Service or pod of the Gateway's name. */
      readonly address: { readonly kind: 'ip' | 'hostname'; readonly value: string } | undefined;
    };

export interface GatewaySpec {
  readonly object: ConfigObject;
  readonly name: string;
  readonly namespace: string;
  readonly className: string;
  /** Applications are told who the client is (`ambient.istio.io/xfcc-include-client-identity`). */
  readonly tellsIdentity: boolean;
  readonly form: GatewayForm;
}

const addressSchema = z.object({ type: z.string().default('IPAddress'), value: z.string() });

const schema = z.object({
  spec: z.object({
    gatewayClassName: z.string().min(1),
    addresses: listOf(addressSchema),
    listeners: listOf(
      z.object({
        name: z.string().optional(),
        port: portSchema,
        protocol: z.string(),
        allowedRoutes: z
          .object({
            namespaces: z
              .object({
                from: z.enum(['Same', 'All', 'Selector', 'None']).default('Same'),
                selector: z.object({ matchLabels: labelsSchema.optional() }).strict().optional(),
              })
              .nullish(),
          })
          .nullish(),
      }),
    ),
  }),
  status: z.object({ addresses: listOf(addressSchema) }).nullish(),
});

export const parseGateway = perObject((object: ConfigObject): Parsed<GatewaySpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { spec, status } = parsed.value;
  const { name, namespace, labels, annotations } = object.metadata;
  const tellsIdentity = annotations['ambient.istio.io/xfcc-include-client-identity'] === 'true';
  const common = { object, name, namespace, className: spec.gatewayClassName, tellsIdentity };
  if (spec.gatewayClassName === 'istio-mesh') {
    const serviceAccount = annotations['istio.io/service-account'];
    if (serviceAccount !== undefined && !accountSchema.safeParse(serviceAccount).success) {
      const path = ['metadata', 'annotations', 'istio.io/service-account'];
      const message = `not a name of a service account: ${serviceAccount}`;
      return { value: undefined, diagnostics: [diagnose(object, 'OBJECT_INVALID', message, path)] };
    }
    return { value: { ...common, form: { kind: 'service-account', serviceAccount } }, diagnostics: [] };
  }
  const listener = spec.listeners.find(({ protocol }) => protocol === 'HBONE');
  if (listener === undefined) {
    const message = `class ${spec.gatewayClassName} without a listener of protocol HBONE`;
    return { value: undefined, diagnostics: [diagnose(object, 'GATEWAY_IGNORED', message, ['spec'])] };
  }
  const waypointFor = labels['istio.io/waypoint-for'] ?? 'service';
  if (!isWaypointFor(waypointFor)) {
    const message = `istio.io/waypoint-for must be service, workload, all or none, not ${waypointFor}`;
    const path = ['metadata', 'labels', 'istio.io/waypoint-for'];
    return { value: undefined, diagnostics: [diagnose(object, 'OBJECT_INVALID', message, path)] };
  }
  const address = addressOf(spec.addresses.length > 0 ? spec.addresses : (status?.addresses ?? []));
  const allowedFrom = allowedFromOf(listener.allowedRoutes?.namespaces ?? undefined);
  const form: GatewayForm = { kind: 'label', waypointFor, port: listener.port, allowedFrom, address };
  return { value: { ...common, form }, diagnostics: [] };
});

function isWaypointFor(text: string): text is WaypointFor {
  return text === 'service' || text === 'workload' || text === 'all' || text === 'none';
}

/** `None` admits nobody but is of no use for a waypoint; it reads as Same, the narrowest that is. */
function allowedFromOf(
  namespaces:
    | {
        readonly from: string;
        readonly selector?: { readonly matchLabels?: Record<string, string> | undefined } | undefined;
      }
    | undefined,
): AllowedFrom {
  if (namespaces?.from === 'All') return { kind: 'all' };
  if (namespaces?.from === 'Selector') return { kind: 'selector', labels: namespaces.selector?.matchLabels ?? {} };
  return { kind: 'same' };
}

/** Names are preferred: they survive a change of address. */
function addressOf(
  addresses: readonly { readonly type: string; readonly value: string }[],
): { readonly kind: 'ip' | 'hostname'; readonly value: string } | undefined {
  const hostname = addresses.find(({ type }) => type === 'Hostname');
  if (hostname !== undefined) return { kind: 'hostname', value: hostname.value };
  for (const { value } of addresses) {
    const ip = canonicalIp(value);
    if (ip !== undefined) return { kind: 'ip', value: ip };
  }
  return undefined;
}
