/**
 * Who signs, as the secret manager sees it: a CA over the wire, or one in this process.
 * The answer is only what was said; whether the certificate is the one asked for is checked by `issued.ts`.
 */
import type { SpiffeId } from '../base/spiffe.ts';

export interface CertificateOrder {
  readonly identity: SpiffeId;
  /** PKCS #10, PEM. */
  readonly requestPem: string;
  readonly ttlSeconds: number;
}

export type CaAnswer =
  | {
      readonly kind: 'issued';
      /** PEM, leaf first, then intermediates. */
      readonly chainPem: readonly string[];
      readonly rootsPem: string;
    }
  /** The CA does not want to: trying again without a change is unlikely to help. */
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'unreachable'; readonly reason: string };

export interface CaClient {
  /** Never rejects. Settles soon after `signal` aborts. */
  sign(order: CertificateOrder, signal: AbortSignal): Promise<CaAnswer>;
  close(): void;
}
