/**
 * Istio's protobuf messages as users write them in YAML: fields in camelCase or snake_case, durations as texts, unknown
 * fields told apart instead of refused, since one mesh configuration speaks to many programs.
 */
import * as z from 'zod';
import { durationMs } from './values.ts';

/** An object whose fields may be written either way. What `shape` does not name is kept, for `unknownFields`. */
export function message<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.preprocess(withCamelCase, z.looseObject(shape));
}

/** Names of fields that a message has beyond those of the shape. */
export function unknownFields(value: object, known: readonly string[]): readonly string[] {
  return Object.keys(value).filter((name) => !known.includes(name));
}

/** Longer than zero; milliseconds. */
export const positiveDuration = z.string().transform((text, context) => {
  const ms = durationMs(text);
  if (ms !== undefined && ms > 0) return ms;
  context.addIssue({ code: 'custom', message: `not a duration longer than zero: ${text}` });
  return z.NEVER;
});

function withCamelCase(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [camelCase(name), field]));
}

function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
