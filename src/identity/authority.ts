/**
 * A certificate authority over a folder with Istio's file names: `ca-key.pem` signs, `ca-cert.pem` is its certificate,
 * `cert-chain.pem` leads from there to `root-cert.pem`. Made on first start when the folder is not there, so a folder
 * from `istioctl`, or from Istio's `cacerts` secret, gives trust shared with an existing mesh.
 *
 * I1: whoever holds an authority may sign anything: only `ambit control`, and a single proxy on a desk, open one.
 * I2: a leaf never outlives the certificate that signed it.
 */
import { createPrivateKey, type KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import { type AuthorityFiles, readAuthorityFiles, writeAuthorityFiles } from './authority-files.ts';
import { certificateFacts, leadsToRoot } from './chain.ts';
import { splitPem } from './pem.ts';
import { ecdsaP256, generateKeys, x509 } from './x509.ts';

/** How far back a certificate starts, for peers whose clocks are behind. */
const backdateMs = 2 * 60_000;
const rootLifeMs = 10 * 365 * 86_400_000;

export type LeafName = { readonly type: 'url' | 'dns' | 'ip'; readonly value: string };

export interface LeafOrder {
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  /** One URI for a client of the mesh; DNS names and addresses for a server of the control plane. */
  readonly names: readonly LeafName[];
  readonly lifeMs: number;
}

export interface Leaf {
  /** PEM, leaf first, then intermediates, without the root. */
  readonly chainPem: readonly string[];
  readonly serialNumber: string;
  readonly notAfterMs: number;
}

export interface CertificateAuthority {
  readonly rootsPem: string;
  /** The signing certificate. */
  readonly certificate: X509Certificate;
  /** Throws an AmbitError when the signing certificate itself is not valid now. */
  issue(order: LeafOrder): Promise<Leaf>;
}

export interface AuthorityOptions {
  readonly folder: string;
  /** Makes a root and the folder when there is none. */
  readonly create: boolean;
  /** Named in the subject of a root that is made. */
  readonly trustDomain: string;
  readonly clock: Clock;
}

/** Throws an AmbitError (IDENTITY_CA_FILES) that says what is wrong with which file. */
export async function openAuthority(options: AuthorityOptions): Promise<CertificateAuthority> {
  const found = await readAuthorityFiles(options.folder);
  if (found !== undefined) return authorityOf(found, options);
  if (!options.create) throw unusable(options.folder, 'holds no certificate authority');
  await writeAuthorityFiles(options.folder, await createRoot(options));
  const files = await readAuthorityFiles(options.folder);
  if (files === undefined) throw unusable(options.folder, 'lost the certificate authority just made');
  return authorityOf(files, options);
}

async function authorityOf(files: AuthorityFiles, options: AuthorityOptions): Promise<CertificateAuthority> {
  const { folder, clock } = options;
  const { certificate, key, signingKey, roots, intermediates } = parse(files, folder);
  if (!certificate.ca) throw unusable(folder, 'ca-cert.pem is not the certificate of an authority');
  if (!certificate.checkPrivateKey(key)) throw unusable(folder, 'ca-key.pem does not belong to ca-cert.pem');
  if (!leadsToRoot([certificate, ...intermediates], roots)) {
    throw unusable(folder, 'cert-chain.pem does not lead from ca-cert.pem to root-cert.pem');
  }
  const upper = [certificate, ...intermediates].filter((one) => !roots.some((root) => root.raw.equals(one.raw)));
  const limits = [certificate, ...intermediates, ...roots].map((one) => certificateFacts(one).notAfterMs);
  const latestMs = Math.min(...limits);
  const issuer = new x509.X509Certificate(certificate.raw);
  // As the issuer names its key, however that was computed: OpenSSL compares the two.
  const ownKey = issuer.getExtension(x509.SubjectKeyIdentifierExtension);
  const authorityKey =
    ownKey === null
      ? await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey)
      : new x509.AuthorityKeyIdentifierExtension(ownKey.keyId);
  return {
    rootsPem: roots.map(String).join(''),
    certificate,
    async issue(order) {
      const nowMs = clock.wallMs();
      if (nowMs >= latestMs || nowMs < certificateFacts(certificate).notBeforeMs) {
        throw unusable(folder, `is not valid now (until ${new Date(latestMs).toISOString()})`);
      }
      // Certificates count in whole seconds.
      const notAfterMs = Math.floor(Math.min(nowMs + order.lifeMs, latestMs) / 1000) * 1000;
      const leaf = await x509.X509CertificateGenerator.create({
        serialNumber: serial(),
        subject: '',
        issuer: issuer.subjectName,
        notBefore: new Date(nowMs - backdateMs),
        notAfter: new Date(notAfterMs),
        signingAlgorithm: ecdsaHash(signingKey),
        publicKey: new x509.PublicKey(order.publicKey),
        signingKey,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
          // Critical, because the subject is empty (RFC 5280 §4.2.1.6).
          new x509.SubjectAlternativeNameExtension([...order.names], true),
          authorityKey,
        ],
      });
      return {
        chainPem: [`${leaf.toString('pem')}\n`, ...upper.map(String)],
        serialNumber: leaf.serialNumber.toLowerCase(),
        notAfterMs,
      };
    },
  };
}

async function createRoot({ trustDomain, clock }: AuthorityOptions): Promise<AuthorityFiles> {
  const keys = await generateKeys();
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `O=${trustDomain},CN=Ambit root`,
    notBefore: new Date(clock.wallMs() - backdateMs),
    notAfter: new Date(clock.wallMs() + rootLifeMs),
    signingAlgorithm: ecdsaP256,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const pem = `${root.toString('pem')}\n`;
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' });
  return { rootCert: pem, caCert: pem, certChain: pem, caKey: Buffer.from(key) };
}

function parse(files: AuthorityFiles, folder: string) {
  try {
    const certificate = new X509Certificate(files.caCert);
    const key = createPrivateKey(files.caKey);
    const intermediates = splitPem(files.certChain).map((pem) => new X509Certificate(pem));
    return {
      certificate,
      key,
      signingKey: importSigningKey(key),
      roots: splitPem(files.rootCert).map((pem) => new X509Certificate(pem)),
      intermediates: intermediates.filter((one) => !one.raw.equals(certificate.raw)),
    };
  } catch (error) {
    throw unusable(folder, 'holds a file that cannot be read as PEM', error);
  }
}

function importSigningKey(key: KeyObject): CryptoKey {
  const curves: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };
  const namedCurve = curves[key.asymmetricKeyDetails?.namedCurve ?? ''];
  const algorithm =
    namedCurve === undefined ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } : { name: 'ECDSA', namedCurve };
  return key.toCryptoKey(algorithm, false, ['sign']);
}

function ecdsaHash(key: CryptoKey) {
  return key.algorithm.name === 'ECDSA' ? ecdsaP256 : key.algorithm;
}

/** 127 random bits, positive. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function unusable(folder: string, reason: string, cause?: unknown): AmbitError {
  return new AmbitError(`certificate authority in ${folder}: ${reason}`, {
    code: 'IDENTITY_CA_FILES',
    origin: 'local',
    cause,
  });
}
