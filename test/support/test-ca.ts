/**
 * A certificate authority for tests: workload certificates as `Secret`s, good ones and deliberately bad ones, and a
 * `SecretStore` over a table. Nothing here is fit for use outside tests.
 */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { isSpiffeId, type SpiffeId } from '../../src/base/spiffe.ts';
import type { Secret, SecretState, SecretStore } from '../../src/identity/secret.ts';
import { createTlsContext, type TlsProfile, tlsProfile } from '../../src/identity/tls-context.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const hourMs = 3_600_000;

export interface IssueOptions {
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  readonly generation?: number;
  /** URI SANs in place of the identity alone. */
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  /** Roots this secret trusts, in place of the CA's own. */
  readonly rootsPem?: string;
  readonly extendedKeyUsages?: readonly ('clientAuth' | 'serverAuth')[];
  /** Default: TLS 1.3 alone. */
  readonly profile?: TlsProfile;
}

export interface ListOptions {
  readonly thisUpdateMs?: number;
  readonly nextUpdateMs?: number;
}

export interface IssuedPem {
  readonly keyPem: string;
  readonly certPem: string;
  readonly serialNumber: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export class TestCa {
  readonly rootPem: string;
  readonly rootKeyPem: string;
  /** Number of the certificate that signs. */
  readonly serialNumber: string;
  readonly #root: x509.X509Certificate;
  /** PEM of what leads from the leaf to the root, the root left out. */
  readonly #between: string;
  readonly #keys: webcrypto.CryptoKeyPair;
  #serial = 1;

  private constructor(
    root: x509.X509Certificate,
    keys: webcrypto.CryptoKeyPair,
    rootKeyPem: string,
    above?: { readonly rootPem: string; readonly between: string },
  ) {
    this.#root = root;
    this.#keys = keys;
    this.serialNumber = root.serialNumber;
    this.rootPem = above?.rootPem ?? `${root.toString('pem')}\n`;
    this.#between = above === undefined ? '' : `${root.toString('pem')}\n${above.between}`;
    this.rootKeyPem = rootKeyPem;
  }

  static async create(name = 'Ambit test root'): Promise<TestCa> {
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const root = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: '01',
      name: `CN=${name}`,
      notBefore: new Date(Date.now() - hourMs),
      notAfter: new Date(Date.now() + 24 * hourMs),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new TestCa(root, keys, await privateKeyPem(keys.privateKey));
  }

  /** An authority that this one has signed. Its leaves come with its certificate; their root is this one's. */
  async intermediate(name: string): Promise<TestCa> {
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: this.#nextSerial(),
      subject: `CN=${name}`,
      issuer: this.#root.subject,
      notBefore: new Date(Date.now() - hourMs),
      notAfter: new Date(Date.now() + 24 * hourMs),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        // As Istio's own intermediates: without cRLSign.
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const above = { rootPem: this.rootPem, between: this.#between };
    return new TestCa(certificate, keys, await privateKeyPem(keys.privateKey), above);
  }

  /** A revocation list of this authority, PEM. */
  async list(serialNumbers: readonly string[], options: ListOptions = {}): Promise<string> {
    const list = await x509.X509CrlGenerator.create({
      issuer: this.#root.subject,
      thisUpdate: new Date(options.thisUpdateMs ?? Date.now() - hourMs),
      nextUpdate: new Date(options.nextUpdateMs ?? Date.now() + hourMs),
      signingAlgorithm: algorithm,
      signingKey: this.#keys.privateKey,
      entries: serialNumbers.map((serialNumber) => ({ serialNumber, revocationDate: new Date() })),
    });
    // The library's label is not RFC 7468's.
    return `${list.toString('pem').replaceAll(' CRL-----', ' X509 CRL-----')}\n`;
  }

  #nextSerial(): string {
    return (++this.#serial).toString(16).padStart(4, '0');
  }

  /** A secret for a workload. The identity need not match `uris`: that is for tests of wrong certificates. */
  async issue(identity: SpiffeId | string, options: IssueOptions = {}): Promise<Secret> {
    const issued = await this.issuePem(options.uris ?? [identity], options);
    const ca = options.rootsPem ?? this.rootPem;
    const { profile = tlsProfile } = options;
    return {
      identity: testIdentity(identity),
      generation: options.generation ?? 1,
      context: createTlsContext({ keyPem: issued.keyPem, certPem: issued.certPem, rootsPem: ca }, profile),
      profile,
      serverMaterial: { key: issued.keyPem, cert: issued.certPem, ca },
      chainPem: [issued.certPem],
      rootsPem: ca,
      serialNumber: issued.serialNumber,
      notBeforeMs: issued.notBeforeMs,
      notAfterMs: issued.notAfterMs,
    };
  }

  /** Key and leaf as PEM, for raw node:tls and node:http2 peers. */
  async issuePem(uris: readonly string[], options: IssueOptions = {}): Promise<IssuedPem> {
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const notBeforeMs = options.notBeforeMs ?? Date.now() - hourMs / 2;
    const notAfterMs = options.notAfterMs ?? Date.now() + hourMs;
    const serialNumber = this.#nextSerial();
    const names: x509.JsonGeneralNames = [
      ...uris.map((value) => ({ type: 'url' as const, value })),
      ...(options.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ];
    const usages = options.extendedKeyUsages ?? ['clientAuth', 'serverAuth'];
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber,
      subject: '',
      issuer: this.#root.subject,
      notBefore: new Date(notBeforeMs),
      notAfter: new Date(notAfterMs),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
        new x509.ExtendedKeyUsageExtension(usages.map((usage) => x509.ExtendedKeyUsage[usage])),
        ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names, true)] : []),
      ],
    });
    return {
      keyPem: await privateKeyPem(keys.privateKey),
      certPem: `${leaf.toString('pem')}\n${this.#between}`,
      serialNumber,
      notBeforeMs,
      notAfterMs,
    };
  }
}

/** Checked text as an identity; throws on a mistake in the test. */
export function testIdentity(text: string): SpiffeId {
  if (!isSpiffeId(text)) throw new TypeError(`not a workload identity: ${text}`);
  return text;
}

/** `SecretStore` over a table; `put` and `lose` drive rotation and loss. */
export class TestSecretStore implements SecretStore {
  readonly #secrets = new Map<SpiffeId, Secret>();
  readonly #listeners = new Set<(identity: SpiffeId, state: SecretState) => void>();

  constructor(secrets: Iterable<Secret> = []) {
    for (const secret of secrets) this.#secrets.set(secret.identity, secret);
  }

  put(secret: Secret): void {
    this.#secrets.set(secret.identity, secret);
    for (const listener of this.#listeners) listener(secret.identity, { kind: 'available', secret });
  }

  lose(identity: SpiffeId, reason = 'lost by the test'): void {
    this.#secrets.delete(identity);
    for (const listener of this.#listeners) listener(identity, { kind: 'unavailable', reason });
  }

  current(identity: SpiffeId): Secret | undefined {
    return this.#secrets.get(identity);
  }

  async acquire(identity: SpiffeId): Promise<Exclude<SecretState, { kind: 'initializing' }>> {
    const secret = this.#secrets.get(identity);
    return secret === undefined ? { kind: 'unavailable', reason: 'not in the test' } : { kind: 'available', secret };
  }

  want(): void {}

  forget(identity: SpiffeId): void {
    if (this.#secrets.has(identity)) this.lose(identity, 'forgotten');
  }

  onChange(listener: (identity: SpiffeId, state: SecretState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  *states(): Iterable<readonly [SpiffeId, SecretState]> {
    for (const [identity, secret] of this.#secrets) yield [identity, { kind: 'available', secret }];
  }

  close(): void {
    this.#listeners.clear();
  }
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${der.match(/.{1,64}/g)?.join('\n')}\n-----END PRIVATE KEY-----\n`;
}
