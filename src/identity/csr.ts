/**
 * Keys and certificate requests of those who ask: EC P-256, empty subject, one critical URI SAN (what Istio's CA expects;
 * reference: istio/ztunnel `tls/csr.rs`). Such a request has one form (PKCS #10, RFC 2986), which is written out here, so
 * that a proxy need not hold a library that reads and writes every other.
 *
 * I1: a private key is made here, put into PEM once, and lives in a Buffer, outside the JavaScript heap.
 */
import { generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';

export interface FreshKey {
  /** PKCS #8 PEM. */
  readonly keyPem: Buffer;
  /** SubjectPublicKeyInfo, DER: to recognise the certificate that belongs to the key. */
  readonly publicKey: Buffer;
}

export interface KeyAndRequest extends FreshKey {
  readonly requestPem: string;
}

/** A key without a request, for whoever signs its own certificate. */
export async function createKey(): Promise<FreshKey> {
  return exportKey(await generateKeys());
}

/** A fresh key and a request for a certificate that names `uri` alone. */
export async function createKeyAndRequest(uri: string): Promise<KeyAndRequest> {
  const keys = await generateKeys();
  const key = exportKey(keys);
  const facts = requestFacts(uri, key.publicKey);
  const signature = sign('sha256', facts, keys.privateKey);
  const request = sequence(facts, sequence(oid.ecdsaWithSha256), der(tag.bitString, Buffer.of(0), signature));
  const lines = request.toString('base64').match(/.{1,64}/g) ?? [];
  const requestPem = ['-----BEGIN CERTIFICATE REQUEST-----', ...lines, '-----END CERTIFICATE REQUEST-----', ''].join(
    '\n',
  );
  return { ...key, requestPem };
}

const generateEcKeys = promisify(generateKeyPair);

interface Keys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

function generateKeys(): Promise<Keys> {
  return generateEcKeys('ec', { namedCurve: 'P-256' });
}

function exportKey({ privateKey, publicKey }: Keys): FreshKey {
  return {
    keyPem: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    publicKey: publicKey.export({ type: 'spki', format: 'der' }),
  };
}

/** Tags and object identifiers of DER (X.690), as bytes. */
const tag = { octetString: 0x04, bitString: 0x03, sequence: 0x30, set: 0x31, attributes: 0xa0, uri: 0x86 };
const oid = {
  extensionRequest: Buffer.from('06092a864886f70d01090e', 'hex'),
  subjectAlternativeName: Buffer.from('0603551d11', 'hex'),
  ecdsaWithSha256: Buffer.from('06082a8648ce3d040302', 'hex'),
};
const version1 = Buffer.from('020100', 'hex');
const critical = Buffer.from('0101ff', 'hex');

/** CertificationRequestInfo: what is signed. */
function requestFacts(uri: string, publicKey: Buffer): Buffer {
  const names = der(tag.octetString, sequence(der(tag.uri, Buffer.from(uri))));
  const extensions = sequence(sequence(oid.subjectAlternativeName, critical, names));
  const attribute = sequence(oid.extensionRequest, der(tag.set, extensions));
  const subject = sequence();
  return sequence(version1, subject, publicKey, der(tag.attributes, attribute));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(tag.sequence, ...parts);
}

/** For contents below 64 KiB. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}
