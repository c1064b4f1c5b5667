/**
 * XBackendTrafficPolicy (gateway.networking.x-k8s.io): of `retryConstraint` its budget, as istiod reads it: a percentage, and as
 * many retries at a time as `minRetryRate` counts; `sessionPersistence`.
 */
import * as z from 'zod';
import type { RetryBudgetPolicy } from '../route/destination.ts';
import { type ConfigObject, type Parsed, type Path, parseContent, perObject } from './object.ts';
import { type SessionSpec, sessionSchema } from './session-persistence.ts';
import { listOf } from './values.ts';

export interface BackendTrafficPolicySpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly targets: readonly { readonly kind: string; readonly name: string; readonly path: Path }[];
  readonly retryBudget: RetryBudgetPolicy | undefined;
  readonly session: SessionSpec | undefined;
}

const schema = z.object({
  spec: z.object({
    targetRefs: listOf(z.object({ group: z.string().default(''), kind: z.string(), name: z.string() })),
    retryConstraint: z
      .object({
        budget: z.object({ percent: z.number().int().min(0).max(100).default(20) }).nullish(),
        minRetryRate: z.object({ count: z.number().int().min(1).max(1_000_000).default(10) }).nullish(),
      })
      .nullish(),
    sessionPersistence: sessionSchema.nullish(),
  }),
});

export const parseBackendTrafficPolicy = perObject((object: ConfigObject): Parsed<BackendTrafficPolicySpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { targetRefs, retryConstraint, sessionPersistence } = parsed.value.spec;
  return {
    value: {
      object,
      namespace: object.metadata.namespace,
      targets: targetRefs.map(({ kind, name }, i) => ({ kind, name, path: ['spec', 'targetRefs', i] })),
      retryBudget:
        retryConstraint == null
          ? undefined
          : {
              percent: retryConstraint.budget?.percent ?? 20,
              minRetryConcurrency: retryConstraint.minRetryRate?.count ?? 10,
            },
      session: sessionPersistence ?? undefined,
    },
    diagnostics: [],
  };
});
