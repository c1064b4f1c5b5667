/**
 * What came back from a CA, checked before it is used: the leaf names the asked identity alone, belongs to our key, is
 * valid now and is signed up to the roots that came with it (rule 7). Only then does it become a `Secret`.
 *
 * I1: the key is reachable through `serverMaterial` alone; printing, spreading or serializing a secret never shows it.
 */
import { X509Certificate } from 'node:crypto';
import type { SecureContext } from 'node:tls';
import { inspect } from 'node:util';
import { errorText } from '../base/errors.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import { type CertificateFacts, certificateFacts, leadsToRoot } from './chain.ts';
import { splitPem } from './pem.ts';
import type { Secret } from './secret.ts';
import { createTlsContext, type TlsProfile, tlsProfile } from './tls-context.ts';

export type CertificateCheck =
  | ({ readonly kind: 'good' } & CertificateFacts)
  | { readonly kind: 'bad'; readonly reason: string };

export interface ExpectedCertificate {
  readonly uri: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  readonly nowMs: number;
}

/** `chainPem` leaf first; `rootsPem` any number of roots. Never throws. */
export function checkCertificate(
  chainPem: readonly string[],
  rootsPem: string,
  expected: ExpectedCertificate,
): CertificateCheck {
  try {
    const chain = chainPem.flatMap(splitPem).map((pem) => new X509Certificate(pem));
    const roots = splitPem(rootsPem).map((pem) => new X509Certificate(pem));
    const [leaf] = chain;
    if (leaf === undefined || roots.length === 0) return bad('the CA sent no certificate or no root');
    const facts = certificateFacts(leaf);
    if (leaf.subjectAltName !== `URI:${expected.uri}`) {
      return bad(`the CA sent a certificate for ${leaf.subjectAltName ?? 'nobody'} instead of ${expected.uri}`);
    }
    if (leaf.ca) return bad('the CA sent a CA certificate');
    if (!leaf.publicKey.export({ type: 'spki', format: 'der' }).equals(expected.publicKey)) {
      return bad('the CA sent a certificate for another key');
    }
    if (facts.notBeforeMs > expected.nowMs) {
      return bad(`the certificate is valid only from ${leaf.validFromDate.toISOString()}: compare the clocks`);
    }
    if (facts.notAfterMs <= expected.nowMs) {
      return bad(`the certificate expired at ${leaf.validToDate.toISOString()}: compare the clocks`);
    }
    if (!leadsToRoot(chain, roots)) return bad('the certificate is not signed by the roots that came with it');
    return { kind: 'good', ...facts };
  } catch (error) {
    return bad(`the CA sent something that is no certificate: ${errorText(error)}`);
  }
}

export interface SecretParts extends CertificateFacts {
  readonly identity: SpiffeId;
  readonly generation: number;
  readonly keyPem: Buffer;
  readonly chainPem: readonly string[];
  readonly rootsPem: string;
  readonly profile?: TlsProfile;
}

/** Throws what OpenSSL says when the parts do not fit together: check them first. */
export function createSecret(parts: SecretParts): Secret {
  return new IssuedSecret(parts);
}

class IssuedSecret implements Secret {
  readonly identity: SpiffeId;
  readonly generation: number;
  readonly chainPem: readonly string[];
  readonly rootsPem: string;
  readonly serialNumber: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly profile: TlsProfile;
  readonly #keyPem: Buffer;
  readonly #context: SecureContext;

  constructor(parts: SecretParts) {
    this.identity = parts.identity;
    this.generation = parts.generation;
    this.chainPem = parts.chainPem;
    this.rootsPem = parts.rootsPem;
    this.serialNumber = parts.serialNumber;
    this.notBeforeMs = parts.notBeforeMs;
    this.notAfterMs = parts.notAfterMs;
    this.profile = parts.profile ?? tlsProfile;
    this.#keyPem = parts.keyPem;
    const { keyPem, rootsPem } = parts;
    this.#context = createTlsContext({ keyPem, certPem: parts.chainPem.join(''), rootsPem }, this.profile);
  }

  get context(): SecureContext {
    return this.#context;
  }

  get serverMaterial(): Secret['serverMaterial'] {
    return { key: this.#keyPem, cert: this.chainPem.join(''), ca: this.rootsPem };
  }

  [inspect.custom](): string {
    return `Secret(${this.identity} generation ${this.generation} serial ${this.serialNumber})`;
  }
}

function bad(reason: string): CertificateCheck {
  return { kind: 'bad', reason };
}
