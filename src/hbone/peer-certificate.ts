/**
 * Which workload a verified peer certificate names: its one URI SAN (SPIFFE X509-SVID §4.1, exactly one URI SAN).
 * Chain and validity are OpenSSL's business and must have been checked before.
 *
 * I1: node:crypto renders alternative names as text and quotes any name that could be taken for two
 * (CVE-2021-44531/44532). A text with a quote is therefore never an ordinary workload certificate: it names nobody.
 */
import type { X509Certificate } from 'node:crypto';
import { isSpiffeId, type SpiffeId } from '../base/spiffe.ts';

/** Undefined for none, several, or one that is no workload identity. */
export function workloadOf(certificate: X509Certificate): SpiffeId | undefined {
  return workloadOfNames(certificate.subjectAltName);
}

/** The same from the text of `X509Certificate.subjectAltName`. */
export function workloadOfNames(names: string | undefined): SpiffeId | undefined {
  if (names === undefined || names.length > 16_384 || names.includes('"')) return undefined;
  let found: string | undefined;
  for (const name of names.split(', ')) {
    if (!name.startsWith('URI:')) continue;
    if (found !== undefined) return undefined;
    found = name.slice('URI:'.length);
  }
  return found !== undefined && isSpiffeId(found) ? found : undefined;
}
