/** Authorization policies as waypoints judge them; evaluated by `../policy/l7.ts`. */
import type { Cidr } from '../base/address.ts';
import type { StringMatch } from '../mesh/model.ts';
import type { ObjectRef } from './object-ref.ts';
import type { TextMatch } from './request-match.ts';

/** One condition on a request or connection; `values` any of, `notValues` none of. */
export type L7Condition =
  | {
      readonly kind: 'principal' | 'namespace' | 'trust-domain';
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
  /** Of the TLS that a client speaks within the tunnel, lower case; a client that speaks none has no name. */
  | {
      readonly kind: 'server-name';
      readonly values: readonly StringMatch[];
      readonly notValues: readonly StringMatch[];
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
    }
  /** Of a verified token. Where it says a list, one of its texts is enough. */
  | {
      readonly kind: 'request-principal' | 'audience' | 'presenter';
      readonly values: readonly StringMatch[];
      readonly notValues: readonly StringMatch[];
    }
  | {
      readonly kind: 'claim';
      readonly path: readonly string[];
      readonly values: readonly StringMatch[];
      readonly notValues: readonly StringMatch[];
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
