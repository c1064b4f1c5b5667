/**
 * RequestAuthentication: whose tokens a waypoint verifies, where it finds them, and what it makes of them.
 *
 * I1: a rule that cannot be read opens nothing: it might have refused a token, or removed a header that only the proxy may
 * set, so the whole object refuses every request until it is mended.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { JwtRule, KeySource, RequestAuthentication, TokenLocation } from '../route/request-authentication.ts';
import { type ConfigObject, diagnose, type Parsed, perObject } from './object.ts';
import { type PolicyTarget, readTargets } from './policy-targets.ts';
import { durationSchema, labelsSchema, listOf } from './values.ts';

export interface RequestAuthenticationSpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly targets: readonly PolicyTarget[];
  readonly authentication: RequestAuthentication;
}

const defaultTimeoutMs = 5_000;
const longestTimeoutMs = 30_000;
const mostRules = 64;

const defaultLocations: readonly TokenLocation[] = [
  { kind: 'header', name: 'authorization', prefix: 'Bearer ', ignoreCase: true },
  { kind: 'param', name: 'access_token' },
];

const outerSchema = z.strictObject({
  selector: z.strictObject({ matchLabels: labelsSchema.nullish() }).nullish(),
  targetRef: z.unknown().optional(),
  targetRefs: z.unknown().optional(),
  jwtRules: listOf(z.unknown()),
});

const headerName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'not a name of a header')
  .transform((name) => name.toLowerCase());
/** What frames a message or addresses it is no place for a claim. */
const framing = /^(?:host|content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|proxy-.*)$/;
const outputName = headerName.refine((name) => !framing.test(name), 'not a header that a claim may be put into');
const name = z.string().min(1).max(256);

const ruleSchema = z
  .strictObject({
    issuer: name,
    audiences: listOf(name),
    jwksUri: z.string().nullish(),
    jwks_uri: z.string().nullish(),
    jwks: z.string().nullish(),
    fromHeaders: listOf(z.strictObject({ name: headerName, prefix: z.string().nullish() })),
    fromParams: listOf(name),
    fromCookies: listOf(name),
    forwardOriginalToken: z.boolean().nullish(),
    outputPayloadToHeader: outputName.nullish().or(z.literal('')),
    outputClaimToHeaders: listOf(z.strictObject({ header: outputName, claim: name })),
    spaceDelimitedClaims: listOf(name),
    timeout: durationSchema.nullish(),
  })
  .transform((rule, context): JwtRule => {
    const keys = keySource(rule.issuer, rule.jwks || undefined, rule.jwksUri || rule.jwks_uri || undefined);
    if (typeof keys === 'string') {
      context.addIssue({ code: 'custom', message: keys });
      return z.NEVER;
    }
    const named: readonly TokenLocation[] = [
      ...rule.fromHeaders.map((header) => ({
        kind: 'header' as const,
        name: header.name,
        prefix: header.prefix ?? '',
        ignoreCase: false,
      })),
      ...rule.fromParams.map((param) => ({ kind: 'param' as const, name: param })),
      ...rule.fromCookies.map((cookie) => ({ kind: 'cookie' as const, name: cookie })),
    ];
    return {
      issuer: rule.issuer,
      audiences: rule.audiences,
      keys,
      timeoutMs: Math.min(rule.timeout || defaultTimeoutMs, longestTimeoutMs),
      locations: named.length > 0 ? named : defaultLocations,
      forwardOriginalToken: rule.forwardOriginalToken ?? false,
      payloadHeader: rule.outputPayloadToHeader || undefined,
      claimHeaders: rule.outputClaimToHeaders.map(({ header, claim }) => ({ header, claim: claim.split('.') })),
      spaceDelimitedClaims: new Set(['scope', 'permission', ...rule.spaceDelimitedClaims]),
    };
  });

export const parseRequestAuthentication = perObject((object: ConfigObject): Parsed<RequestAuthenticationSpec> => {
  const outer = outerSchema.safeParse(object.content.spec ?? {});
  const targets = outer.success ? readTargets(outer.data) : undefined;
  if (!outer.success || targets === undefined) {
    const issue = outer.error?.issues[0];
    const path = ['spec', ...(issue?.path ?? []).filter((step) => typeof step !== 'symbol')];
    const message = issue === undefined ? 'targetRefs cannot be read' : `${path.join('.')}: ${issue.message}`;
    return { value: undefined, diagnostics: [diagnose(object, 'OBJECT_INVALID', message, path)] };
  }
  const diagnostics: Diagnostic[] = [];
  const rules: JwtRule[] = [];
  const invalid = (message: string, path: readonly (string | number)[]) =>
    diagnostics.push(diagnose(object, 'AUTHENTICATION_RULE_INVALID', message, path));
  for (const [i, text] of outer.data.jwtRules.slice(0, mostRules).entries()) {
    const parsed = ruleSchema.safeParse(text);
    if (parsed.success) rules.push(parsed.data);
    for (const issue of parsed.error?.issues ?? []) {
      const at = ['spec', 'jwtRules', i, ...issue.path.filter((step) => typeof step !== 'symbol')];
      invalid(`${at.join('.')}: ${issue.message}`, at);
    }
  }
  if (outer.data.jwtRules.length > mostRules) invalid(`more than ${mostRules} rules`, ['spec', 'jwtRules']);
  const { name, namespace } = object.metadata;
  const source = { kind: 'RequestAuthentication', namespace, name };
  const authentication = { source, rules, broken: diagnostics.length > 0 };
  return { value: { object, namespace, targets, authentication }, diagnostics };
});

/** A text says what is wrong. */
function keySource(issuer: string, document: string | undefined, uri: string | undefined): KeySource | string {
  if (document !== undefined)
    return isKeySet(document) ? { kind: 'inline', document } : 'jwks is not a JSON Web Key Set';
  if (uri !== undefined) {
    return isWebAddress(uri) ? { kind: 'url', url: uri } : 'jwksUri is not an http or https URL';
  }
  if (!isWebAddress(issuer)) return 'neither jwks nor jwksUri, and the issuer is no URL where keys could be looked for';
  return { kind: 'discovery', url: `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration` };
}

function isKeySet(text: string): boolean {
  try {
    return z.object({ keys: z.array(z.looseObject({ kty: z.string() })) }).safeParse(JSON.parse(text)).success;
  } catch {
    // JSON.parse has no other way to say no.
    return false;
  }
}

function isWebAddress(text: string): boolean {
  const url = URL.parse(text);
  const web = url !== null && (url.protocol === 'https:' || url.protocol === 'http:');
  return web && url.username === '' && url.password === '' && text.length <= 2048;
}
