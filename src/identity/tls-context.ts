/**
 * The TLS profile of the mesh and of the control plane: version 1.3 alone, AES-GCM alone, whoever is client or server.
 */
import { createSecureContext, type SecureContext } from 'node:tls';

/** Spread into every option object that leads to a TLS context. */
export const tlsProfile = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256',
} as const;

export interface TlsMaterial {
  readonly keyPem: string | Buffer;
  /** Leaf first, then intermediates. */
  readonly certPem: string;
  readonly rootsPem: string;
}

/** Throws what OpenSSL says when key and certificate do not fit together or a text is no PEM. */
export function createTlsContext(material: TlsMaterial): SecureContext {
  return createSecureContext({
    ...tlsProfile,
    key: material.keyPem,
    cert: material.certPem,
    ca: material.rootsPem,
  });
}
