/**
 * L7 policies as immutable, pre-parsed records, compiled from AuthorizationPolicy; `l7.ts` evaluates them. They live
 * apart from the routes because this room knows nothing of routing.
 */
import type { Cidr } from '../base/address.ts';
import type { StringMatch } from '../mesh/model.ts';

/** The user's object a decision came from, for reasons, logs and the effective-configuration view. */
export interface ObjectRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

export type TextMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string; readonly ignoreCase: boolean }
  /** Whole-text match by a linear-time engine (RE2 semantics). */
  | { readonly kind: 'regex'; readonly source: string; test(text: string): boolean }
  | { readonly kind: 'presence' };

/** One condition on a request or connection; `values` any of, `notValues` none of. */
export type L7Condition =
  | {
      readonly kind: 'principal' | 'namespace';
      readonly values: readonly StringMatch[];
      readonly notValues: readonly StringMatch[];
    }
  | {
      readonly kind: 'service-account';
      /** `namespace/name`. */
      readonly values: readonly string[];
      readonly notValues: readonly string[];
    }
  | {
      readonly kind: 'source-ip' | 'remote-ip' | 'destination-ip';
      readonly values: readonly Cidr[];
      readonly notValues: readonly Cidr[];
    }
  | { readonly kind: 'destination-port'; readonly values: readonly number[]; readonly notValues: readonly number[] }
  | {
      readonly kind: 'method' | 'path' | 'host';
      readonly values: readonly TextMatch[];
      readonly notValues: readonly TextMatch[];
    }
  | {
      readonly kind: 'header';
      /** Lower case. */
      readonly name: string;
      readonly values: readonly TextMatch[];
      readonly notValues: readonly TextMatch[];
    };

/** clauses AND; within a clause conditions sets OR; within a set conditions AND: from ∧ to ∧ each when. */
export interface L7Rule {
  readonly clauses: readonly (readonly (readonly L7Condition[])[])[];
}

export interface L7Policy {
  readonly source: ObjectRef;
  readonly action: 'allow' | 'deny' | 'audit';
  readonly dryRun: boolean;
  readonly rules: readonly L7Rule[];
}
