/**
 * Extension (ambit.dev), our own kind: a module of hooks for what reaches a Service, everything behind a Gateway, or a route.
 *
 * I1: an object whose targets can be read but which cannot be followed otherwise opens nothing: it is attached, and every
 * request meets its failure mode, which is `Closed` unless `Open` can be read.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { ExtensionPhase, ExtensionRecord } from '../route/extension.ts';
import { type ConfigObject, diagnose, type Parsed, perObject } from './object.ts';
import { type PolicyTarget, readTargets } from './policy-targets.ts';
import { bytesSchema, durationSchema } from './values.ts';

export interface ExtensionSpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly targets: readonly PolicyTarget[];
  readonly record: ExtensionRecord;
}

const mebibyte = 1024 * 1024;
const longestConfig = 256 * 1024;

const phases: Readonly<Record<string, ExtensionPhase>> = {
  '': 'last',
  UNSPECIFIED_PHASE: 'last',
  AUTHN: 'authn',
  AUTHZ: 'authz',
  STATS: 'stats',
};

const targetsSchema = z.looseObject({ targetRef: z.unknown().optional(), targetRefs: z.unknown().optional() });

const between = (least: number, most: number) =>
  bytesSchema.refine((bytes) => bytes >= least && bytes <= most, `must be from ${least} to ${most} bytes`);

const schema = z.strictObject({
  targetRef: z.unknown().optional(),
  targetRefs: z.unknown().optional(),
  module: z
    .string()
    .max(256)
    .regex(
      /^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*[A-Za-z0-9_-][A-Za-z0-9._-]*\.(?:ts|mts|js|mjs)$/,
      'must be a .ts, .mts, .js or .mjs file below the folder of extensions',
    ),
  phase: z.enum(['', 'UNSPECIFIED_PHASE', 'AUTHN', 'AUTHZ', 'STATS']).nullish(),
  priority: z.number().int().min(-1_000_000).max(1_000_000).default(0),
  config: z.unknown().optional(),
  failureMode: z.enum(['Open', 'Closed']).default('Closed'),
  deadline: durationSchema.refine((ms) => ms >= 1 && ms <= 10_000, 'must be from 1ms to 10s').default(100),
  memory: between(16 * mebibyte, 1024 * mebibyte).default(64 * mebibyte),
  maxHeldBody: between(1, 8 * mebibyte).default(mebibyte),
});

export const parseExtension = perObject((object: ConfigObject): Parsed<ExtensionSpec> => {
  const { name, namespace } = object.metadata;
  const spec = targetsSchema.safeParse(object.content.spec ?? {});
  const targets = spec.success ? readTargets(spec.data) : undefined;
  if (!spec.success || targets === undefined) {
    const message = 'spec.targetRefs cannot be read';
    return { value: undefined, diagnostics: [diagnose(object, 'OBJECT_INVALID', message, ['spec', 'targetRefs'])] };
  }
  const diagnostics: Diagnostic[] = [];
  const invalid = (message: string, path: readonly (string | number)[]) => {
    diagnostics.push(diagnose(object, 'EXTENSION_INVALID', message, path));
  };
  const parsed = schema.safeParse(spec.data);
  for (const issue of parsed.error?.issues ?? []) {
    const path = ['spec', ...issue.path.filter((step) => typeof step !== 'symbol')];
    invalid(`${path.join('.')}: ${issue.message}`, path);
  }
  const phase = phases[parsed.data?.phase ?? ''] ?? 'last';
  const atRoute = targets.findIndex(({ kind }) => kind === 'HTTPRoute' || kind === 'GRPCRoute');
  if (atRoute >= 0 && (phase === 'authn' || phase === 'authz')) {
    const message = 'a route is known only after authorization: leave the phase out, or say STATS';
    invalid(message, ['spec', 'targetRefs', atRoute]);
  }
  const config = parsed.data?.config;
  if (!isPlainData(config)) invalid(`spec.config is longer than ${longestConfig} bytes as JSON`, ['spec', 'config']);
  const broken = diagnostics[0]?.message;
  const record: ExtensionRecord = {
    source: { kind: 'Extension', namespace, name },
    module: parsed.data?.module ?? '',
    // What is broken acts where every target can be.
    phase: broken === undefined ? phase : 'last',
    priority: parsed.data?.priority ?? 0,
    config,
    failureMode: spec.data.failureMode === 'Open' ? 'open' : 'closed',
    deadlineMs: parsed.data?.deadline ?? 0,
    memoryBytes: parsed.data?.memory ?? 0,
    maxHeldBytes: parsed.data?.maxHeldBody ?? 0,
    broken,
  };
  return { value: { object, namespace, targets, record }, diagnostics };
});

function isPlainData(config: unknown): boolean {
  try {
    return (JSON.stringify(config) ?? '').length <= longestConfig;
  } catch {
    // An alias within itself.
    return false;
  }
}
