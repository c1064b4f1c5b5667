/** `tcp` and `tls` rules of a VirtualService, parsed to everything that does not depend on other objects. */
import * as z from 'zod';
import { type Cidr, parseCidr } from '../base/address.ts';
import type { Diagnostic } from '../base/diagnostics.ts';
import { type ConfigObject, diagnose, type Path } from './object.ts';
import { labelsSchema, listOf, portSchema } from './values.ts';
import { type DestinationSpec, destinationSchema, destinationsOf } from './virtual-rule.ts';

export interface VirtualStreamMatch {
  readonly index: number;
  /** Undefined: every port. */
  readonly port: number | undefined;
  /** Lower case; undefined: a `tcp` rule. */
  readonly serverNames: readonly string[] | undefined;
  readonly sourceNamespace: string | undefined;
  readonly sourceLabels: readonly (readonly [string, string])[];
  readonly destinations: readonly Cidr[] | undefined;
}

export interface VirtualStreamSpec {
  readonly kind: 'tcp' | 'tls';
  readonly index: number;
  /** Any of them. */
  readonly matches: readonly VirtualStreamMatch[];
  readonly destinations: readonly DestinationSpec[];
}

export const streamRuleSchema = z.strictObject({
  match: listOf(z.unknown()),
  route: listOf(z.strictObject({ destination: destinationSchema, weight: z.number().int().min(0).optional() })),
});

const blockSchema = z.string().transform((text, context): Cidr => {
  const block = parseCidr(text);
  if (block !== undefined) return block;
  context.addIssue({ code: 'custom', message: `not a block of addresses: ${text}` });
  return z.NEVER;
});

/** What cannot be told of a connection is refused: without it the route would match more than was asked. */
const matchSchema = z.strictObject({
  port: portSchema.nullish(),
  destinationSubnets: listOf(blockSchema),
  sourceLabels: labelsSchema.nullish(),
  sourceNamespace: z.string().min(1).nullish(),
  gateways: z
    .array(z.string())
    .refine((gateways) => gateways.length === 0 || gateways.includes('mesh'), 'is not for the mesh')
    .nullish(),
});
const serverNameSchema = z
  .string()
  .regex(/^(?:\*|(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)$/, 'not a server name')
  .transform((name) => name.toLowerCase());
const tlsMatchSchema = matchSchema.extend({ sniHosts: z.array(serverNameSchema).min(1) });

export function readStreamRule(
  object: ConfigObject,
  kind: 'tcp' | 'tls',
  { match, route }: z.output<typeof streamRuleSchema>,
  index: number,
  diagnostics: Diagnostic[],
): VirtualStreamSpec {
  const path: Path = ['spec', kind, index];
  // A tls rule without a match names nobody: only a tcp rule may be for every connection.
  const texts = kind === 'tcp' && match.length === 0 ? [{}] : match;
  const matches = texts.flatMap((text, i): VirtualStreamMatch[] => {
    const parsed = (kind === 'tls' ? tlsMatchSchema : matchSchema).safeParse(text);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const at = [...path, 'match', i, ...(issue?.path ?? []).filter((step) => typeof step !== 'symbol')];
      diagnostics.push(diagnose(object, 'ROUTE_MATCH_INVALID', issue?.message ?? 'cannot be read', at));
      return [];
    }
    const { port, destinationSubnets, sourceLabels, sourceNamespace } = parsed.data;
    return [
      {
        index: i,
        port: port ?? undefined,
        serverNames: 'sniHosts' in parsed.data ? (parsed.data.sniHosts as readonly string[]) : undefined,
        sourceNamespace: sourceNamespace ?? undefined,
        sourceLabels: Object.entries(sourceLabels ?? {}),
        destinations: destinationSubnets.length === 0 ? undefined : destinationSubnets,
      },
    ];
  });
  if (texts.length === 0) {
    diagnostics.push(diagnose(object, 'ROUTE_MATCH_INVALID', 'a tls rule has no match with sniHosts', path));
  }
  return { kind, index, matches, destinations: destinationsOf(route, path) };
}
