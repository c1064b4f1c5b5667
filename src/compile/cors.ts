/** CORS as HTTPRoute's filter (GEP-1767) and VirtualService's `corsPolicy` write it. */
import * as z from 'zod';
import type { CorsPolicy, TextMatch } from '../route/model.ts';
import { durationSchema, listOf, regexMatch } from './values.ts';
import { stringMatchSchema, textMatch } from './virtual-match.ts';

/** A method or header name, or a star. They become header values: nothing else may stand in them. */
const token = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'not a token');

/** `https://*.example.com` stands for any number of labels, as Gateway API has it. */
const originSchema = z
  .string()
  .regex(/^(?:\*|[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:\*|(?:\*\.)?[A-Za-z0-9.-]+)(?::[0-9]{1,5})?)$/, 'not an origin')
  .transform((origin): TextMatch => {
    if (origin === '*') return anyOrigin;
    if (!origin.includes('*')) return { kind: 'exact', value: origin, ignoreCase: true };
    const source = origin.replaceAll(/[.+]/g, '\\$&').replace('*', '[A-Za-z0-9._-]+');
    return regexMatch(`(?i)${source}`) ?? { kind: 'exact', value: origin, ignoreCase: true };
  });

const anyOrigin: TextMatch = { kind: 'prefix', value: '', ignoreCase: false };

/** `cors` of an HTTPRoute filter. */
export const corsFilterSchema = z
  .strictObject({
    allowOrigins: listOf(originSchema),
    allowCredentials: z.boolean().nullish(),
    allowMethods: listOf(token),
    allowHeaders: listOf(token),
    exposeHeaders: listOf(token),
    maxAge: z.number().int().min(1).default(5),
  })
  .transform(
    ({ maxAge, allowCredentials, ...rest }): CorsPolicy => ({
      ...rest,
      allowCredentials: allowCredentials === true,
      maxAgeSeconds: maxAge,
      answerUnmatched: true,
    }),
  );

/** `corsPolicy` of a VirtualService. Unmatched preflights go to the application unless it says otherwise. */
export const corsPolicySchema = z
  .strictObject({
    allowOrigin: listOf(z.string()),
    allowOrigins: listOf(stringMatchSchema),
    allowMethods: listOf(token),
    allowHeaders: listOf(token),
    exposeHeaders: listOf(token),
    maxAge: durationSchema.nullish(),
    allowCredentials: z.boolean().nullish(),
    unmatchedPreflights: z.enum(['UNSPECIFIED', 'FORWARD', 'IGNORE']).default('UNSPECIFIED'),
  })
  .transform((policy, context): CorsPolicy => {
    const problems: string[] = [];
    const newer = policy.allowOrigins.map((match) => originMatch(textMatch(match, false, problems)));
    const older = policy.allowOrigin.map((value) => originMatch({ kind: 'exact', value, ignoreCase: false }));
    for (const message of problems) context.addIssue({ code: 'custom', message, path: ['allowOrigins'] });
    return {
      // Istio takes the older form only where the newer is not given.
      allowOrigins: newer.length > 0 ? newer : older,
      allowMethods: policy.allowMethods,
      allowHeaders: policy.allowHeaders,
      exposeHeaders: policy.exposeHeaders,
      allowCredentials: policy.allowCredentials === true,
      maxAgeSeconds: policy.maxAge == null ? undefined : Math.floor(policy.maxAge / 1000),
      answerUnmatched: policy.unmatchedPreflights === 'IGNORE',
    };
  });

function originMatch(match: TextMatch): TextMatch {
  return match.kind === 'exact' && match.value === '*' ? anyOrigin : match;
}
