/**
 * Secrets as others see them: a certificate for an identity, ready for TLS, replaced while in use.
 * The private key lives inside `context` and nowhere else that can be printed (design rule 7).
 */
import type { SecureContext } from 'node:tls';
import type { SpiffeId } from '../base/spiffe.ts';
import type { TlsProfile } from './tls-context.ts';

/** One issued leaf with its roots. Immutable: a rotation makes a new one with a higher `generation`. */
export interface Secret {
  readonly identity: SpiffeId;
  readonly generation: number;
  /** Leaf, key, chain and roots, by `profile`: for servers (`setSecureContext`-like) and clients alike. */
  readonly context: SecureContext;
  /** What a `tls.Server` needs, since it takes no ready context. Never log, dump or serialize. */
  readonly serverMaterial: { readonly key: string | Buffer; readonly cert: string; readonly ca: string };
  /** What the context was made by; left out: the mesh's own. */
  readonly profile?: TlsProfile;
  /** Leaf first, PEM, without key: for dumps. */
  readonly chainPem: readonly string[];
  readonly rootsPem: string;
  readonly serialNumber: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export type SecretState =
  | { readonly kind: 'initializing' }
  | { readonly kind: 'available'; readonly secret: Secret }
  /** No valid certificate. `reason` is for the operator. */
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface SecretStore {
  /** The certificate to use now, without waiting: undefined when there is none that is valid at this moment. */
  current(identity: SpiffeId): Secret | undefined;
  /** Waits for a first certificate at real-time priority; an `unavailable` state answers at once. Never throws. */
  acquire(identity: SpiffeId): Promise<Exclude<SecretState, { kind: 'initializing' }>>;
  /** Keeps a certificate for the identity issued and fresh from now on; asked for in the background. */
  want(identity: SpiffeId): void;
  /** The last workload of the identity left the node: its key is dropped. */
  forget(identity: SpiffeId): void;
  /** Called with every new generation and every loss. Returns the way to stop listening. */
  onChange(listener: (identity: SpiffeId, state: SecretState) => void): () => void;
  states(): Iterable<readonly [SpiffeId, SecretState]>;
  close(): void;
}
