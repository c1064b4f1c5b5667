/** `targetRefs`: the objects at whose waypoint a policy is enforced. */
import * as z from 'zod';

export interface PolicyTarget {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
}

const targetSchema = z.object({ group: z.string().default(''), kind: z.string(), name: z.string() });

/** Empty without targets; undefined when they cannot be read. */
export function readTargets(spec: {
  readonly targetRef?: unknown;
  readonly targetRefs?: unknown;
}): readonly PolicyTarget[] | undefined {
  const texts = spec.targetRefs ?? (spec.targetRef == null ? [] : [spec.targetRef]);
  const parsed = z.array(targetSchema).max(16).safeParse(texts);
  return parsed.success ? parsed.data : undefined;
}
