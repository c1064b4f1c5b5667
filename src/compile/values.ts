/** Small values that several kinds share: durations, regular expressions, selectors. */
import { RE2JS } from 're2js';
import * as z from 'zod';
import { none } from '../base/trimmed.ts';
import type { TextMatch } from '../route/model.ts';

/** Kubernetes writes absent lists and maps as null as well. */
export function listOf<T extends z.ZodType>(item: T) {
  return z
    .array(item)
    .nullish()
    .transform((list): readonly z.output<T>[] => list ?? none);
}

export const labelsSchema = z.record(z.string(), z.string());
/** A service account as it may stand in an identity. */
export const accountSchema = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/, 'not a name of a service account');
export const portSchema = z.number().int().min(1).max(65535);
/** Part of a URL that goes out as it is written: what is not ASCII has to be escaped. */
export const urlTextSchema = z.string().regex(/^[\x21-\x7e]*$/, 'has characters that must be escaped in a URL');

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 0.001, ns: 0.000_001 };

/** Milliseconds of a duration as Gateway API (`1h30m`) and protobuf's JSON (`0.5s`) write it; undefined for another text. */
export function durationMs(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:h|ms|m|us|s|ns))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|us|s|ns)/g)) {
    total += Number(amount) * (unitMs[unit ?? ''] ?? 0);
  }
  return total;
}

export const durationSchema = z.string().transform((text, context) => {
  const ms = durationMs(text);
  if (ms !== undefined) return ms;
  context.addIssue({ code: 'custom', message: `not a duration: ${text}` });
  return z.NEVER;
});

const byteUnits: Readonly<Record<string, number>> = {
  '': 1,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
};

/** Whole bytes, as Kubernetes writes quantities. */
export const bytesSchema = z.union([z.number(), z.string()]).transform((text, context) => {
  const [, amount, unit = ''] = /^(\d{1,15})(Ki|Mi|Gi|k|M|G)?$/.exec(String(text)) ?? [];
  const total = amount === undefined ? Number.NaN : Number(amount) * (byteUnits[unit] ?? 1);
  if (Number.isSafeInteger(total)) return total;
  context.addIssue({ code: 'custom', message: `not a number of bytes: ${text}` });
  return z.NEVER;
});

/** A whole-text match by a linear-time engine; undefined when the expression is not valid RE2. */
export function regexMatch(source: string): Extract<TextMatch, { kind: 'regex' }> | undefined {
  try {
    const pattern = RE2JS.compile(source);
    return { kind: 'regex', source, test: (text) => pattern.matches(text) };
  } catch {
    // The engine throws on a bad expression, and there is no way to ask first.
    return undefined;
  }
}

/** Whether an object with the labels is selected; an empty selector selects everything. */
export function selects(selector: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>>): boolean {
  for (const key in selector) if (labels[key] !== selector[key]) return false;
  return true;
}
