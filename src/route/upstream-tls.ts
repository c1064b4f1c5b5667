/**
 * What TLS towards backends is made of, as it came with the configuration: credentials (Kubernetes Secrets), what
 * BackendTLSPolicies say of Services, and retry budgets of XBackendTrafficPolicies. Compiled; read by waypoints.
 */
import type { SecretText } from '../base/secret-text.ts';
import type { ServiceKey } from '../mesh/model.ts';
import type { RetryBudgetPolicy } from './destination.ts';
import type { ObjectRef } from './object-ref.ts';
import type { SessionPersistence } from './session.ts';

/** PEM. Undefined parts were not given. */
export interface TlsCredential {
  readonly certificate: string | undefined;
  readonly key: SecretText | undefined;
  readonly authorities: string | undefined;
  readonly revocations: string | undefined;
}

export type BackendTls = { readonly source: ObjectRef } & (
  | {
      readonly kind: 'tls';
      /** Asked for by SNI; the certificate's name where no others are listed. */
      readonly hostname: string;
      readonly names: readonly { readonly kind: 'dns' | 'uri'; readonly value: string }[];
      /** PEM; undefined: the authorities that programs of the machine trust. */
      readonly authorities: string | undefined;
    }
  /** It asked for something that cannot be done: nothing may be sent. */
  | { readonly kind: 'invalid'; readonly reason: string }
);

export interface BackendTlsOfService {
  readonly otherwise: BackendTls | undefined;
  readonly ports: ReadonlyMap<number, BackendTls>;
}

export interface BackendPolicies {
  readonly tls: ReadonlyMap<ServiceKey, BackendTlsOfService>;
  readonly retryBudgets: ReadonlyMap<ServiceKey, RetryBudgetPolicy>;
  readonly sessions: ReadonlyMap<ServiceKey, SessionPersistence>;
  /** By `namespace/name` of the Secret. */
  readonly credentials: ReadonlyMap<string, TlsCredential>;
}

export const noBackendPolicies: BackendPolicies = {
  tls: new Map(),
  retryBudgets: new Map(),
  sessions: new Map(),
  credentials: new Map(),
};
