/**
 * Tags of spans that a user adds: a text, a header of the request, a variable of the waypoint's environment, a log format.
 *
 * I1: nobody who may write a Telemetry reads secrets of the waypoint by it: variables that hold some by their names are refused.
 */
import * as z from 'zod';
import { requestHeader } from '../route/telemetry/attributes.ts';
import { formatPieces, textOf } from '../route/telemetry/log-format.ts';
import type { CustomTag } from '../route/telemetry/rules.ts';
import { message } from './proto-json.ts';

const mostTags = 64;
const secret = /token|secret|passw|credential|private|_key$|^key|headers|auth/i;

const name = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'not a name of a header');
const tagName = z.string().min(1).max(128);

const tag = message({
  literal: message({ value: z.string().max(1024) }).nullish(),
  environment: message({
    name: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'not a name of a variable')
      .refine((variable) => !secret.test(variable), 'may hold a secret, which is not put into spans'),
    defaultValue: z.string().max(1024).nullish(),
  }).nullish(),
  header: message({ name, defaultValue: z.string().max(1024).nullish() }).nullish(),
  formatter: message({ value: z.string() }).nullish(),
});

/** By name; as at Istio, several kinds in one tag are none. */
export const customTags = z.record(tagName, tag).transform((tags, context): readonly CustomTag[] => {
  const all = Object.entries(tags);
  if (all.length > mostTags) context.addIssue({ code: 'custom', message: `more than ${mostTags} tags` });
  return all.slice(0, mostTags).flatMap(([key, given]) => {
    const value = tagValue(given);
    if (typeof value !== 'string') return [{ name: key, value }];
    context.addIssue({ code: 'custom', message: value, path: [key] });
    return [];
  });
});

/** A text says what is wrong. */
function tagValue({ literal, environment, header, formatter }: z.output<typeof tag>): CustomTag['value'] | string {
  if ([literal, environment, header, formatter].filter((each) => each != null).length !== 1) {
    return 'needs one of literal, environment, header and formatter';
  }
  if (literal != null) return { kind: 'read', read: () => literal.value };
  if (environment != null) {
    return { kind: 'environment', variable: environment.name, fallback: environment.defaultValue ?? undefined };
  }
  if (header != null) {
    const lower = header.name.toLowerCase();
    const fallback = header.defaultValue ?? undefined;
    return { kind: 'read', read: ({ request }) => (request && requestHeader(request, lower)) ?? fallback };
  }
  const pieces = formatPieces(formatter?.value ?? '');
  return 'problem' in pieces ? pieces.problem : { kind: 'read', read: (facts) => textOf(pieces, facts) };
}
