/**
 * `uriRegexRewrite` of a VirtualService, as Envoy's regex_rewrite: every match of an RE2 expression in the path is replaced,
 * `\1` to `\9` standing for groups and `\0` for the match.
 */
import { RE2JS } from 're2js';
import * as z from 'zod';
import type { PathRewrite } from '../route/model.ts';

/** The replacement becomes part of a path: nothing that ends one may stand in it. */
const replacementSchema = z
  .string()
  .regex(/^(?:[!"$-.0->@-[\]-~/]|\\[0-9\\])*$/, 'not a replacement: \\0 to \\9 and what a path may contain');

export const regexRewriteSchema = z
  .strictObject({ match: z.string().min(1), rewrite: replacementSchema })
  .transform(({ match, rewrite }, context): PathRewrite => {
    const pattern = compiled(match);
    const problem =
      pattern === undefined
        ? `not a regular expression (RE2): ${match}`
        : [...rewrite.matchAll(/\\([0-9])/g)].some(([, group]) => Number(group) > pattern.groupCount())
          ? `${rewrite} names a group that ${match} has not`
          : undefined;
    if (pattern !== undefined && problem === undefined) {
      return { kind: 'regex', source: match, replace: (path) => replaceAll(pattern, rewrite, path) };
    }
    context.addIssue({ code: 'custom', message: problem ?? 'cannot be read' });
    return z.NEVER;
  });

function compiled(source: string): RE2JS | undefined {
  try {
    return RE2JS.compile(source);
  } catch {
    // The engine throws on a bad expression, and there is no way to ask first.
    return undefined;
  }
}

function replaceAll(pattern: RE2JS, rewrite: string, path: string): string {
  const matcher = pattern.matcher(path);
  let out = '';
  let from = 0;
  while (matcher.find()) {
    const expanded = rewrite.replaceAll(/\\([0-9\\])/g, (_whole, what: string) =>
      what === '\\' ? what : (matcher.group(Number(what)) ?? ''),
    );
    out += path.slice(from, matcher.start()) + expanded;
    from = matcher.end();
  }
  return out + path.slice(from);
}
