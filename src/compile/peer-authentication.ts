/** PeerAuthentication: whether plaintext is let in. As at istiod for ambient, DISABLE means PERMISSIVE. */

import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import { labelsSchema, portSchema } from './values.ts';

export type PeerMode = 'strict' | 'permissive';

export interface PeerAuthenticationSpec {
  readonly object: ConfigObject;
  readonly name: string;
  readonly namespace: string;
  /** Undefined: the namespace, or the mesh in the root namespace. */
  readonly selector: Readonly<Record<string, string>> | undefined;
  /** Undefined: inherited. */
  readonly mode: PeerMode | undefined;
  readonly ports: ReadonlyMap<number, PeerMode>;
}

const mtls = z.strictObject({ mode: z.enum(['UNSET', 'STRICT', 'PERMISSIVE', 'DISABLE']).default('UNSET') });
const schema = z.object({
  spec: z
    .strictObject({
      selector: z.strictObject({ matchLabels: labelsSchema.nullish() }).nullish(),
      mtls: mtls.nullish(),
      portLevelMtls: z.record(z.string(), mtls).nullish(),
    })
    .prefault({}),
});

/** One that cannot be read is STRICT for its namespace: what was asked for is unknown, so plaintext stays out. */
export const parsePeerAuthentication = perObject((object: ConfigObject): Parsed<PeerAuthenticationSpec> => {
  const parsed = parseContent(object, schema);
  const { name, namespace } = object.metadata;
  const common = { object, name, namespace };
  if (parsed.value === undefined) {
    const value = { ...common, selector: undefined, mode: 'strict', ports: new Map() } as const;
    return { value, diagnostics: parsed.diagnostics };
  }
  const { spec } = parsed.value;
  const diagnostics: Diagnostic[] = [];
  const ports = new Map<number, PeerMode>();
  for (const [text, setting] of Object.entries(spec.portLevelMtls ?? {})) {
    const port = portSchema.safeParse(Number(text));
    if (!port.success) {
      diagnostics.push(diagnose(object, 'OBJECT_INVALID', `not a port: ${text}`, ['spec', 'portLevelMtls', text]));
      continue;
    }
    const mode = peerMode(setting.mode);
    if (mode !== undefined) ports.set(port.data, mode);
  }
  const labels = spec.selector?.matchLabels ?? {};
  const selector = Object.keys(labels).length > 0 ? labels : undefined;
  return { value: { ...common, selector, mode: peerMode(spec.mtls?.mode ?? 'UNSET'), ports }, diagnostics };
});

function peerMode(word: 'UNSET' | 'STRICT' | 'PERMISSIVE' | 'DISABLE'): PeerMode | undefined {
  return word === 'UNSET' ? undefined : word === 'STRICT' ? 'strict' : 'permissive';
}
