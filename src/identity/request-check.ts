/** Certificate requests of strangers, as those who sign read them. */
import { createPublicKey } from 'node:crypto';
import { errorText } from '../base/errors.ts';
import { x509 } from './x509.ts';

/** A request is about 500 bytes; RSA 4096 with a long name stays below 3 KiB. */
const longestRequest = 8192;

const subjectAlternativeName = '2.5.29.17';

export type RequestCheck =
  | { readonly kind: 'good'; readonly uri: string /** SubjectPublicKeyInfo, DER. */; readonly publicKey: Buffer }
  /** `reason` names what to change in the request. */
  | { readonly kind: 'bad'; readonly reason: string };

/**
 * Reads a request from a stranger: size, form, its own signature, a strong key, exactly one SAN and that a URI.
 * The subject and all other extensions are ignored: nothing of them gets into a certificate.
 */
export async function checkRequest(requestPem: string): Promise<RequestCheck> {
  if (requestPem.length > longestRequest) return bad(`the request is longer than ${longestRequest} bytes`);
  try {
    const request = new x509.Pkcs10CertificateRequest(requestPem);
    const publicKey = Buffer.from(request.publicKey.rawData);
    const weakness = weaknessOf(publicKey);
    if (weakness !== undefined) return bad(weakness);
    if (!(await request.verify())) return bad('the request is not signed by its own key');
    const extensions = request.extensions.filter((extension) => extension.type === subjectAlternativeName);
    const [extension] = extensions;
    if (extension === undefined || extensions.length > 1) return bad('the request needs one subject alternative name');
    const names = new x509.SubjectAlternativeNameExtension(extension.rawData).names.items;
    const [name] = names;
    if (name === undefined || names.length > 1 || name.type !== 'url') {
      return bad('the subject alternative name must be one URI and nothing else');
    }
    return { kind: 'good', uri: name.value, publicKey };
  } catch (error) {
    return bad(`the request is no PKCS #10 in PEM: ${errorText(error)}`);
  }
}

function bad(reason: string): RequestCheck {
  return { kind: 'bad', reason };
}

function weaknessOf(publicKey: Buffer): string | undefined {
  const key = createPublicKey({ key: publicKey, format: 'der', type: 'spki' });
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType === 'ec' && (curve === 'prime256v1' || curve === 'secp384r1' || curve === 'secp521r1')) {
    return undefined;
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType === 'rsa' && bits >= 2048 && bits <= 4096) return undefined;
  return `the key must be EC P-256, P-384 or P-521, or RSA of 2048 to 4096 bits, not ${key.asymmetricKeyType ?? 'unknown'} ${curve ?? bits}`;
}
