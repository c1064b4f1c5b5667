/** Certificate chains out of band of a handshake, hop by hop with OpenSSL's own checks of issuer and signature. */
import type { X509Certificate } from 'node:crypto';

export interface CertificateFacts {
  readonly serialNumber: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export function certificateFacts(certificate: X509Certificate): CertificateFacts {
  return {
    serialNumber: certificate.serialNumber.toLowerCase(),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  };
}

/** Whether each certificate is signed by the next, up to one signed by a root. Dates are not looked at. */
export function leadsToRoot(chain: readonly X509Certificate[], roots: readonly X509Certificate[]): boolean {
  for (const [i, certificate] of chain.entries()) {
    if (roots.some((root) => isSignedBy(certificate, root))) return true;
    const next = chain[i + 1];
    if (next === undefined || !isSignedBy(certificate, next)) return false;
  }
  return false;
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
