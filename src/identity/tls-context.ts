/**
 * The TLS profile of the mesh and of the control plane: version 1.3 alone, AES-GCM alone, whoever is client or server
 * (ztunnel.md §3.7). An operator may admit TLS 1.2, or demand key exchange that a quantum computer cannot undo.
 *
 * I1: nothing of a profile makes a session resumable or renegotiable: either would skip the check of the peer.
 */
import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';

/** Spread into every option object that leads to a TLS context. */
export interface TlsProfile {
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly maxVersion: 'TLSv1.3';
  readonly ciphers: string;
  /** Key exchange; left out: what OpenSSL prefers, which begins with X25519MLKEM768. */
  readonly ecdhCurve?: string;
  readonly secureOptions?: number;
}

const aesGcm = 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256';
const aesGcmOf12 =
  'ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256';

export const tlsProfile: TlsProfile = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: aesGcm };

const postQuantumGroup = 'X25519MLKEM768';

export interface TlsWishes {
  /** TLS12_ENABLED. Without effect together with `postQuantum`: TLS 1.2 has no such key exchange. */
  readonly tls12: boolean;
  /** COMPLIANCE_POLICY=pqc. */
  readonly postQuantum: boolean;
}

export function tlsProfileFor({ tls12, postQuantum }: TlsWishes): TlsProfile {
  if (postQuantum) return { ...tlsProfile, ecdhCurve: postQuantumGroup };
  if (!tls12) return tlsProfile;
  return {
    ...tlsProfile,
    minVersion: 'TLSv1.2',
    ciphers: `${aesGcm}:${aesGcmOf12}`,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/** Throws what OpenSSL says when it lacks something of the profile. */
export function checkTlsProfile(profile: TlsProfile): void {
  createSecureContext(profile);
}

export function allowsProtocol(profile: TlsProfile, protocol: string | null): boolean {
  return protocol === 'TLSv1.3' || (protocol === 'TLSv1.2' && profile.minVersion === 'TLSv1.2');
}

export interface TlsMaterial {
  readonly keyPem: string | Buffer;
  /** Leaf first, then intermediates. */
  readonly certPem: string;
  readonly rootsPem: string;
}

/** Throws what OpenSSL says when key and certificate do not fit together or a text is no PEM. */
export function createTlsContext(material: TlsMaterial, profile: TlsProfile = tlsProfile): SecureContext {
  return createSecureContext({
    ...profile,
    key: material.keyPem,
    cert: material.certPem,
    ca: material.rootsPem,
  });
}
