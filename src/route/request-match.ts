/** What a request is matched by: of routes, and of whatever else applies to some requests only. */

export type TextMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string; readonly ignoreCase: boolean }
  /** Whole-text match by a linear-time engine (RE2 semantics). */
  | { readonly kind: 'regex'; readonly source: string; test(text: string): boolean }
  | { readonly kind: 'presence' };

export type PathMatch =
  | { readonly kind: 'exact'; readonly value: string; readonly ignoreCase: boolean }
  /** Segment-wise, Gateway API: `/v2` matches `/v2` and `/v2/x`, not `/v2x`. */
  | { readonly kind: 'path-prefix'; readonly value: string }
  /** Plain text prefix, VirtualService. */
  | { readonly kind: 'text-prefix'; readonly value: string; readonly ignoreCase: boolean }
  | { readonly kind: 'regex'; readonly source: string; test(text: string): boolean };

export interface NamedMatch {
  /** Header names lower case; query names as written. */
  readonly name: string;
  readonly match: TextMatch;
  /** True for `withoutHeaders`: the route matches when this does not. */
  readonly negate: boolean;
}

/** Of a verified token. Where it says a list, one of its texts is enough. */
export interface ClaimMatch {
  readonly path: readonly string[];
  readonly match: TextMatch;
  readonly negate: boolean;
}

export interface RouteMatch {
  readonly path: PathMatch | undefined;
  readonly method: TextMatch | undefined;
  readonly authority: TextMatch | undefined;
  readonly scheme: TextMatch | undefined;
  readonly headers: readonly NamedMatch[];
  readonly queryParams: readonly NamedMatch[];
  /** Istio's `@request.auth.claims`. */
  readonly claims?: readonly ClaimMatch[] | undefined;
  /** Of the client, as its certificate proves it. */
  readonly sourceNamespace?: string | undefined;
  /** Of the client's workload record, all of them. */
  readonly sourceLabels?: readonly (readonly [name: string, value: string])[] | undefined;
}
