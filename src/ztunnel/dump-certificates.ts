/**
 * Certificates as `/config_dump` shows them: chains and roots as base64 of PEM, serial numbers as decimal text, as istioctl
 * reads them. Keys are nowhere in it.
 */
import { X509Certificate } from 'node:crypto';
import type { Secret, SecretState, SecretStore } from '../identity/secret.ts';

export interface CertificateDump {
  readonly identity: string;
  readonly state: string;
  readonly certChain: readonly CertificateRecord[];
  readonly rootCerts: readonly { readonly pem: string }[];
}

interface CertificateRecord {
  readonly pem: string;
  readonly serialNumber: string;
  /** RFC 3339, whole seconds. */
  readonly validFrom: string;
  readonly expirationTime: string;
}

export function dumpCertificates(secrets: SecretStore): readonly CertificateDump[] {
  return [...certificateDumps(secrets)];
}

/** By identity, in order. One a step. */
export function* certificateDumps(secrets: SecretStore): Generator<CertificateDump> {
  const states = [...secrets.states()].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [identity, state] of states) {
    const secret = state.kind === 'available' ? state.secret : undefined;
    yield {
      identity,
      state: stateText(state),
      certChain: secret === undefined ? [] : dumpChain(secret),
      rootCerts: secret === undefined ? [] : [{ pem: base64(secret.rootsPem) }],
    };
  }
}

function stateText(state: SecretState): string {
  switch (state.kind) {
    case 'available':
      return 'Available';
    case 'initializing':
      return 'Initializing';
    case 'unavailable':
      return `Unavailable: ${state.reason}`;
  }
}

const chains = new WeakMap<Secret, readonly CertificateRecord[]>();

/** Parsed once for each certificate that is had. */
function dumpChain(secret: Secret): readonly CertificateRecord[] {
  return chains.getOrInsertComputed(secret, () => secret.chainPem.map(dumpCertificate));
}

function dumpCertificate(pem: string): CertificateRecord {
  const certificate = new X509Certificate(pem);
  return {
    pem: base64(pem),
    serialNumber: BigInt(`0x${certificate.serialNumber}`).toString(),
    validFrom: seconds(certificate.validFromDate),
    expirationTime: seconds(certificate.validToDate),
  };
}

function seconds(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
